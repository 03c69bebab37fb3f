/**
 * All faults that a run can have, and the choice of them.
 */
import { DueqError } from '../../errors.js'
import { closest } from '../../options.js'
import { findPgBouncer } from '../pgbouncer.js'
import type { FaultContext, FaultKind } from './fault.js'
import { networkFaults } from './faults-network.js'
import { processFaults } from './faults-process.js'
import { serverFaults } from './faults-server.js'

export const faultKinds: readonly FaultKind[] = [...processFaults, ...networkFaults, ...serverFaults]

export type ChosenFaults = {
  readonly kinds: readonly FaultKind[]
  readonly missing: readonly { readonly name: string; readonly why: string }[]
}

/** The kinds named, separated by commas; `all`, or `none`. Raises `option.invalid` for a name that there is not. */
export function namedFaults(text: string): readonly FaultKind[] {
  if (text === 'none') return []
  if (text === 'all') return faultKinds
  const names = text.split(',').map((name) => name.trim().replaceAll('-', ' '))
  const known = faultKinds.map(({ name }) => name)
  const unknown = names.find((name) => !known.includes(name))
  if (unknown === undefined) return faultKinds.filter(({ name }) => names.includes(name))
  const meant = closest(unknown, known)
  const advice = meant ? `, did you mean \`${meant}\`?` : `. There are ${known.join(', ')}.`
  throw new DueqError('option.invalid', `Unknown fault \`${unknown.slice(0, 100)}\`${advice}`, {
    details: { option: 'faults' },
  })
}

/** Those that can be had here, and why the others cannot. */
export function availableFaults(kinds: readonly FaultKind[], context: FaultContext): ChosenFaults {
  const missing = kinds.flatMap(({ name, missing }) => {
    const why = missing?.(context)
    return why === undefined ? [] : [{ name, why }]
  })
  return { kinds: kinds.filter(({ name }) => !missing.some((one) => one.name === name)), missing }
}

/** Why no proxy can stand between a process and the server of this URL, if so. */
export function whyUnproxied(url: string): string | undefined {
  if (!URL.canParse(url)) return 'the URL names several hosts'
  const { hostname, searchParams } = new URL(url)
  if (hostname === '' || searchParams.has('host')) return 'the URL names a socket, or its host by a parameter'
  const mode = searchParams.get('sslmode') ?? searchParams.get('ssl')
  if (mode === 'verify-full' || mode === 'verify-ca') return `sslmode=${mode} would not trust a proxy`
  return undefined
}

/** Why no PgBouncer can stand before the server of this URL, if so. */
export function whyUnpooled(url: string): string | undefined {
  if (findPgBouncer() === undefined) return 'no PgBouncer on PATH or in /usr/sbin'
  if (/[?&]ssl(mode)?=(?!disable)/.test(url)) return 'the URL asks for TLS, which the pooler of the run does not speak'
  return undefined
}
