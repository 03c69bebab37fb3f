// A consumer of scripts/failover.mjs, in a process of its own: tells what it is given, and when that was claimed.
import { connect } from '../../dist/esm/index.js'

const { name, url, leaseMs } = JSON.parse(process.env.ORDER)
const told = []
const events = []
const dueq = connect(url, {
  name,
  onEvent: ({ type, error }) => type.startsWith('message.') || events.push({ type, code: error?.code, at: Date.now() }),
})
dueq.queue('failover').consume(
  ({ id, attempt, payload, leaseEndsAt }) => {
    told.push({ ref: payload.ref, id, attempt, claimedAt: leaseEndsAt.getTime() - leaseMs, at: Date.now() })
  },
  { concurrency: 20 },
)
const tell = () => process.send({ delivered: told.splice(0), events: events.splice(0) })
const telling = setInterval(tell, 50)
process.once('message', async () => {
  await dueq.close()
  clearInterval(telling)
  tell()
  process.disconnect()
})
process.once('disconnect', () => setTimeout(() => process.exit(), 500).unref())
