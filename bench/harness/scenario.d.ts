// What a scenario is: a file of scenarios/ with this default export.
import type { System } from '../contract.js'
import type { Stage } from './stage.mjs'

/** What one run found, for one variant. `series` are points (x, y) for a line of the chart. */
export type Finding = {
  readonly variant: string
  readonly metrics: Readonly<Record<string, number>>
  readonly series?: readonly (readonly [number, number])[]
  /** Goes into the JSON only. */
  readonly details?: unknown
}

// biome-ignore lint/suspicious/noExplicitAny: each scenario has parameters of its own, named in its `params`
export type Params = Readonly<Record<string, any>>

export type Scenario = {
  readonly name: string
  readonly title: string
  /** What is measured, in a sentence or two for the report. */
  readonly about: string
  /** The floors it is compared with, where `floor` is among the chosen systems. */
  readonly floors: readonly string[]
  /** Names of harness/metrics.mjs; the first is the one of the chart and of the ratios. */
  readonly metrics: readonly string[]
  readonly params: Params
  /** What differs in the quick mode. */
  readonly quick: Params
  /** The variant that others of the same system are compared with. */
  readonly baseline?: string
  /** Settings of a server of its own. */
  readonly server?: Readonly<Record<string, string>>
  readonly chart?: { readonly x: string; readonly y: string } | { readonly scale: 'log' }
  /** Why a system has no part in it, or undefined. */
  refuses?(system: System): string | undefined
  /** Each group is one run in a database of its own. */
  groups(params: Params, system: System): Params[]
  run(stage: Stage, params: Params, group: Params): Promise<readonly Finding[]>
}
