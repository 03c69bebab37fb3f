/**
 * The producing scenarios of `dueq bench`: single enqueues by one caller and by many, and bulk enqueues. Nobody consumes
 * meanwhile, and what was enqueued is purged after each measurement. The bare statements go over as many connections.
 */
import { type Bench, callersAtOnce, chunkSize, fill, type Sample, startCpuClock } from './bench-scenario.js'

const callersOf = [1, 32, 256] as const

/** Each caller enqueues one message after the other, and waits for its commit. */
export async function single(bench: Bench): Promise<readonly Sample[]> {
  const queue = await bench.queue('single')
  // Three numbers of callers, each with dueq and bare, share the time of the scenario.
  const limits = { calls: bench.messages, ms: bench.durationMs / 6, signal: bench.signal }
  const samples: Sample[] = []
  for (const callers of callersOf) {
    const dueq = async (): Promise<Rate> => {
      const rate = await measure(callers, () => queue.enqueue(bench.payload), limits)
      await queue.purge()
      return rate
    }
    const { bare, own } = await bothWays(bench, dueq, () => bareInserts(bench, callers, limits))
    samples.push({
      id: `single-${callers}`,
      label: `single, ${callers} caller${callers === 1 ? '' : 's'}`,
      unit: 'per second',
      value: own.perSecond,
      bare: bare?.perSecond,
      answerMs: own.answerMs,
      cpuShare: own.cpuShare,
    })
  }
  return samples
}

/** One caller enqueues arrays of a thousand. */
export async function bulk(bench: Bench): Promise<readonly Sample[]> {
  const queue = await bench.queue('bulk')
  const size = chunkSize(bench.payload)
  const statements = Math.ceil(bench.messages / size)
  const rate = async (work: () => Promise<unknown>): Promise<Rate> => {
    const cpuShare = startCpuClock()
    const startedAt = performance.now()
    await work()
    const tookMs = performance.now() - startedAt
    return { perSecond: (bench.messages * 1000) / tookMs, answerMs: tookMs / statements, cpuShare: cpuShare() }
  }
  const dueq = async (): Promise<Rate> => {
    const measured = await rate(() => fill(bench, queue, bench.messages))
    await queue.purge()
    return measured
  }
  const { bare, own } = await bothWays(bench, dueq, () => bareBulk(bench, size, rate))
  const label = `bulk, by ${size}`
  return [{ id: 'bulk', label, unit: 'per second', value: own.perSecond, bare: bare?.perSecond, ...shares(own) }]
}

// --- internal ---

type Rate = { readonly perSecond: number; readonly answerMs: number; readonly cpuShare: number }

function shares({ answerMs, cpuShare }: Rate): Pick<Rate, 'answerMs' | 'cpuShare'> {
  return { answerMs, cpuShare }
}

async function bothWays(
  bench: Bench,
  dueq: () => Promise<Rate>,
  bare: () => Promise<Rate | undefined>,
): Promise<{ readonly own: Rate; readonly bare: Rate | undefined }> {
  if (bench.round % 2 === 0) {
    const first = await bare()
    return { bare: first, own: await dueq() }
  }
  const own = await dueq()
  return { own, bare: await bare() }
}

async function measure(
  callers: number,
  call: () => Promise<unknown>,
  limits: Parameters<typeof callersAtOnce>[2],
): Promise<Rate> {
  const cpuShare = startCpuClock()
  const { calls, tookMs } = await callersAtOnce(callers, call, limits)
  return { perSecond: (calls * 1000) / tookMs, answerMs: (tookMs * callers) / calls, cpuShare: cpuShare() }
}

async function bareInserts(
  { bare, payload }: Bench,
  callers: number,
  limits: Parameters<typeof callersAtOnce>[2],
): Promise<Rate | undefined> {
  if (!bare) return undefined
  const text = JSON.stringify(payload)
  const rate = await measure(callers, () => bare.statements.insert(bare.query, text), limits)
  await bare.statements.empty(bare.query)
  return rate
}

async function bareBulk(
  { bare, payload, messages, signal }: Bench,
  size: number,
  rate: (work: () => Promise<unknown>) => Promise<Rate>,
): Promise<Rate | undefined> {
  if (!bare) return undefined
  const measured = await rate(async () => {
    for (let left = messages; left > 0; left -= size) {
      signal.throwIfAborted()
      const payloads = Array.from({ length: Math.min(size, left) }, () => JSON.stringify(payload))
      await bare.statements.insertMany(bare.query, payloads)
    }
  })
  await bare.statements.empty(bare.query)
  return measured
}
