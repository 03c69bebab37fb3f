// What the schema of a queue says of payloads. It is code of the user, called for producers and consumers alike: it may throw,
// give anything, or never answer, and none of that may end more than the message it was asked about.
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { thrownText } from './errors.js'

/** What a schema says of its input; a schema that throws refuses it. */
export async function validate(schema: StandardSchemaV1, value: unknown): Promise<StandardSchemaV1.Result<unknown>> {
  try {
    const result: unknown = await schema['~standard'].validate(value)
    if (typeof result !== 'object' || result === null) return refused('the schema gave no result')
    const { issues, value: parsed } = result as { issues?: StandardSchemaV1.Issue[]; value?: unknown }
    if (issues === undefined) return { value: parsed }
    issuesText(issues) // throws here, or nowhere
    return { issues }
  } catch (error) {
    return refused(`the schema threw: ${thrownText(error)}`)
  }
}

/** What it says of many; undefined where it takes longer, so that one holds up the others no longer than that. */
export async function validateAll(
  schema: StandardSchemaV1,
  payloads: readonly unknown[],
  withinMs: number,
): Promise<(StandardSchemaV1.Result<unknown> | undefined)[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, withinMs, undefined)
  })
  const results = await Promise.all(payloads.map((payload) => Promise.race([validate(schema, payload), late])))
  clearTimeout(timer)
  return results
}

/** The issues of a schema as text: "userId: expected a number; …". */
export function issuesText(issues: readonly StandardSchemaV1.Issue[]): string {
  return issues
    .map(({ message, path }) => {
      const keys = path?.map((step) => String(typeof step === 'object' ? step.key : step)).join('.')
      return keys ? `${keys}: ${message}` : message
    })
    .join('; ')
}

// --- internal ---

function refused(message: string): StandardSchemaV1.FailureResult {
  return { issues: [{ message }] }
}
