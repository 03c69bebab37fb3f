// A producer of scripts/failover.mjs, in a process of its own: enqueues at a rate, and tells what became of each message.
//
// One message in five has a dedup key, and is repeated under it until an answer comes; its delay outlasts the fail-over, so
// that the first, where it landed, is still there to be found. The others are not repeated.
import { connect } from '../../dist/esm/index.js'

const { name, url, rate, delayMs } = JSON.parse(process.env.ORDER)
const dueq = connect(url, { name, max: 8, onEvent: () => {} })
const queue = dueq.queue('failover')
const told = []
const underWay = new Set()
let isOver = false

const enqueue = async (ref, options) => {
  try {
    const { created } = await queue.enqueue({ ref }, options)
    return created ? 'created' : 'found'
  } catch (error) {
    if (typeof error.isOutcomeUnknown !== 'boolean') throw error
    return error.isOutcomeUnknown ? 'unknown' : 'failed'
  }
}
const plain = async (ref) => {
  const outcome = await enqueue(ref)
  told.push({ ref, outcome, at: Date.now() })
}
const keyed = async (ref) => {
  const outcomes = []
  for (;;) {
    const outcome = await enqueue(ref, { dedupKey: ref, delay: delayMs })
    if (outcomes.at(-1) !== outcome) outcomes.push(outcome)
    if (outcome === 'created' || outcome === 'found') break
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  told.push({ ref, outcome: outcomes.at(-1), wasUnknown: outcomes.includes('unknown'), isKeyed: true, at: Date.now() })
}

let count = 0
const start = performance.now()
const ticking = setInterval(() => {
  for (; !isOver && count < ((performance.now() - start) * rate) / 1000; count++) {
    const ref = `${name}-${count}`
    const one = (count % 5 ? plain : keyed)(ref).finally(() => underWay.delete(one))
    underWay.add(one)
  }
}, 10)
const tell = () => process.send({ enqueued: told.splice(0) })
const telling = setInterval(tell, 100)
process.once('message', async () => {
  isOver = true
  clearInterval(ticking)
  while (underWay.size > 0) await Promise.all(underWay)
  await dueq.close()
  clearInterval(telling)
  tell()
  process.disconnect()
})
process.once('disconnect', () => setTimeout(() => process.exit(), 500).unref())
