/** Calls of the engine as SQL text, so that the trace of a failing run can be pasted into psql. */
export type Row = Readonly<Record<string, unknown>>

/** `dueq.verb(name => value, …)`; what is null is left out. */
export function call(verb: string, args: Readonly<Record<string, string | null>>): string {
  const given = Object.entries(args).filter(([, value]) => value !== null)
  return `dueq.${verb}(${given.map(([name, value]) => `${name} => ${value}`).join(', ')})`
}

/** A call that gives one value. */
export const ask = (verb: string, args: Readonly<Record<string, string | null>>) =>
  `select ${call(verb, args)} as answer`
export const answer = ([row]: readonly Row[]) => row?.['answer'] ?? null

export const text = (value: string | null) => (value === null ? null : `'${value.replaceAll("'", "''")}'`)
export const interval = (value: number | null) => (value === null ? null : `interval '${value} microseconds'`)
export const instant = (origin: string, value: number | null) =>
  value === null ? null : `timestamptz '${origin}' + ${interval(value)}`
export const array = (items: readonly (string | null)[], type: string) =>
  `array[${items.map((item) => item ?? 'null').join(', ')}]::${type}[]`
/** An array argument that is left out where it says nothing. */
export const arrayUnlessNull = (items: readonly (string | null)[], type: string) =>
  items.every((item) => item === null) ? null : array(items, type)

/** Microseconds of an interval, and of an instant since `origin`, as numbers. */
export const microseconds = (value: string) => `(extract(epoch from ${value}) * 1000000)::bigint::float8`
export const since = (origin: string, value: string) => microseconds(`(${value} - timestamptz '${origin}')`)
