// The figures that scenarios give, by name: how they read, and which way is better.

/** @typedef {{ label: string, unit: string, better: 'higher' | 'lower' | 'neither', digits?: number }} Metric */

/** @type {Readonly<Record<string, Metric>>} */
export const metrics = {
  rate: { label: 'messages/s', unit: '/s', better: 'higher' },
  enqueueRate: { label: 'enqueue messages/s', unit: '/s', better: 'higher' },
  serverUs: { label: 'server CPU per message', unit: 'µs', better: 'lower', digits: 1 },
  clientUs: { label: 'client CPU per message', unit: 'µs', better: 'lower', digits: 1 },
  p50: { label: 'p50', unit: 'ms', better: 'lower', digits: 2 },
  p99: { label: 'p99', unit: 'ms', better: 'lower', digits: 2 },
  early: { label: 'early', unit: '', better: 'lower' },
  handled: { label: 'handled', unit: '', better: 'higher' },
  claimP50: { label: 'dequeue p50', unit: 'ms', better: 'lower', digits: 2 },
  firstP50: { label: 'dequeue p50, first window', unit: 'ms', better: 'lower', digits: 2 },
  lastP50: { label: 'dequeue p50, last window', unit: 'ms', better: 'lower', digits: 2 },
  growthP50: { label: 'p50 last / first', unit: '×', better: 'lower', digits: 2 },
  firstP99: { label: 'dequeue p99, first window', unit: 'ms', better: 'lower', digits: 2 },
  lastP99: { label: 'dequeue p99, last window', unit: 'ms', better: 'lower', digits: 2 },
  growthP99: { label: 'p99 last / first', unit: '×', better: 'lower', digits: 2 },
  kept: { label: 'throughput kept', unit: '%', better: 'higher', digits: 1 },
  oldest: { label: 'latest message', unit: 'ms', better: 'lower' },
  lateCommit: { label: 'handled after a commit 5 s late', unit: 'ms', better: 'lower' },
  idleStatements: { label: 'statements/s while idle', unit: '/s', better: 'lower', digits: 2 },
  wakeStatements: { label: 'statements per enqueue beyond its own', unit: '', better: 'lower', digits: 2 },
  onRate: { label: 'messages/s, notifications on', unit: '/s', better: 'higher' },
  offRate: { label: 'messages/s, notifications off', unit: '/s', better: 'higher' },
  onOff: { label: 'on / off', unit: '×', better: 'higher', digits: 3 },
  secondTenth: { label: 'memory, second tenth', unit: 'MB', better: 'lower', digits: 1 },
  lastTenth: { label: 'memory, last tenth', unit: 'MB', better: 'lower', digits: 1 },
  growth: { label: 'last / second tenth', unit: '×', better: 'lower', digits: 3 },
}

/**
 * Processor time per message, from what `stage.measured` gives.
 * @param {{ serverCpuMs: number, clientCpuMs: number }} measured @param {number} count
 */
export function costs({ serverCpuMs, clientCpuMs }, count) {
  return { serverUs: (serverCpuMs * 1000) / count, clientUs: (clientCpuMs * 1000) / count }
}
