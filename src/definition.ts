// A queue as a contract: a name, the shape of its payload, its settings. It needs no connection, so producers and
// consumers in different packages share it.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { DueqError } from './errors.js'
import type { SettingDifference } from './events.js'
import { type Duration, describe, durationMs, knownOptions, queueName, readable, wholeNumber } from './options.js'
import type { GivenSettings, StoredSettings } from './statements-operate.js'

/** The settings of a queue. They are stored in the database by `ensure`; what is left out keeps its stored value. */
export type QueueSettings = {
  /** How long a message is held between extensions, 1s to 12h. @default 30s */
  readonly lease?: Duration
  /** At this many failures (nacks and lapses) a message goes to the dead letters, 1 to 1000. @default 20 */
  readonly maxAttempts?: number
  /** Delay before the first retry (0 to 1d), doubling up to `max` (0 to 30d), random in its upper half. @default 1s, 15m */
  readonly backoff?: { readonly base?: Duration; readonly max?: Duration }
  /** The longest a consumer sleeps without looking, 100ms to 1h. @default 5s */
  readonly pollInterval?: Duration
  /**
   * With so many live messages (delayed, ready, leased and lapsed ones) `enqueue` is refused, 1 to 100 million; null: no limit.
   * What open transactions have enqueued comes on top. @default null
   */
  readonly maxDepth?: number | null
  /** The most JSON of a payload, in bytes, 1 to 67,108,864. @default 1,048,576 */
  readonly maxPayloadBytes?: number
}

/** A queue contract. `In` is what producers pass, `Out` what handlers get after parsing. */
export type Queue<In = unknown, Out = In> = QueueDefinition & {
  readonly '~types'?: { readonly in: In; readonly out: Out }
}

/** A queue contract without its types. */
export type QueueDefinition = {
  readonly name: string
  readonly payload: StandardSchemaV1 | undefined
  readonly settings: GivenSettings
}

/**
 * Defines a queue: its name, a schema of its payload (any Standard Schema: zod, valibot, arktype …) and its settings.
 *
 * Producers pass the schema's input, which is validated and stored as it is; handlers get the schema's output.
 * Errors: `queue.invalid_name`, `option.*`, `duration.invalid`.
 */
export function defineQueue<Schema extends StandardSchemaV1>(
  name: string,
  options: QueueSettings & { readonly payload: Schema },
): Queue<StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>>
export function defineQueue<Payload = unknown>(name: string, options?: QueueSettings): Queue<Payload, Payload>
export function defineQueue(
  name: string,
  options: QueueSettings & { readonly payload?: StandardSchemaV1 } = {},
): Queue {
  knownOptions('defineQueue', options, ['payload', ...settingNames])
  const { payload } = options
  checkSchema(payload)
  return Object.freeze({ name: queueName(name), payload, settings: givenSettings(options) })
}

/** Raises `option.invalid` unless these are queue definitions. */
export function checkDefinitions(queues: unknown): void {
  if (!readable('what `ensure` gets', () => Array.isArray(queues) && Array.from(queues).every(isDefinition)))
    throw new DueqError(
      'option.invalid',
      'Expected `ensure` to get an array of queue definitions: `ensure([defineQueue(…)])`.',
    )
}

/** Gives a queue definition back; it may be of another copy of the package. Raises `option.invalid`, `queue.invalid_name`. */
export function checkDefinition(queue: unknown): Queue {
  if (readable('the queue', () => isDefinition(queue))) return queue as Queue
  throw new DueqError(
    'option.invalid',
    `Expected a queue by its name or as \`defineQueue(…)\` gives it, got ${describe(queue)}.`,
  )
}

/** The declared settings that are not the stored ones. */
export function differences(declared: GivenSettings, stored: StoredSettings): SettingDifference[] {
  return (Object.keys(declared) as (keyof GivenSettings)[]).flatMap((setting) => {
    const value = declared[setting]
    return value === undefined || value === stored[setting]
      ? []
      : [{ setting, declared: value, stored: stored[setting] }]
  })
}

// --- internal ---

const settingNames = ['lease', 'maxAttempts', 'backoff', 'pollInterval', 'maxDepth', 'maxPayloadBytes']

function isDefinition(queue: unknown): boolean {
  if (typeof queue !== 'object' || queue === null) return false
  const { name, payload, settings } = queue as Partial<QueueDefinition>
  if (typeof settings !== 'object' || settings === null) return false
  queueName(name)
  checkSchema(payload)
  return Object.values(settings).every((value) => value == null || Number.isFinite(value))
}

function checkSchema(payload: StandardSchemaV1 | undefined): void {
  const isSchema = (): boolean => typeof payload?.['~standard']?.validate === 'function'
  if (payload === undefined || readable('`payload`', isSchema)) return
  throw new DueqError(
    'option.invalid',
    `Expected \`payload\` to be a Standard Schema (zod, valibot, arktype …), got ${describe(payload)}.`,
  )
}

function givenSettings(options: QueueSettings): GivenSettings {
  const { lease, maxAttempts, backoff, pollInterval, maxDepth, maxPayloadBytes } = options
  knownOptions('backoff', backoff, ['base', 'max'])
  const duration = (name: string, value: Duration | undefined, min: Duration, max: Duration): number | undefined =>
    value === undefined ? undefined : durationMs(name, value, { min, max })
  return {
    leaseMs: duration('lease', lease, '1s', '12h'),
    maxAttempts: maxAttempts === undefined ? undefined : wholeNumber('maxAttempts', maxAttempts, 1, 1000),
    backoffBaseMs: duration('backoff.base', backoff?.base, '0ms', '1d'),
    backoffMaxMs: duration('backoff.max', backoff?.max, '0ms', '30d'),
    pollIntervalMs: duration('pollInterval', pollInterval, '100ms', '1h'),
    maxDepth: maxDepth == null ? maxDepth : wholeNumber('maxDepth', maxDepth, 1, 100_000_000),
    maxPayloadBytes:
      maxPayloadBytes === undefined ? undefined : wholeNumber('maxPayloadBytes', maxPayloadBytes, 1, 67_108_864),
  }
}
