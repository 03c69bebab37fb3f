/**
 * A standby, as far as its primary can tell: it streams WAL and reports the oldest transaction that its queries need.
 *
 * It speaks the replication protocol over a `pg` connection and keeps nothing of what it receives.
 */
import pg from 'pg'

export type Standby = {
  /** Reports (hot_standby_feedback) that a query needs what the very first transactions left. */
  holdBack(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** What the types of `pg` leave out: the messages of a copy in both directions. */
type Wire = { sendCopyFromChunk(chunk: Buffer): void; on(event: 'copyData', heard: () => void): void }

export async function startStandby(url: string, name: string): Promise<Standby> {
  const client = new pg.Client({
    connectionString: url,
    application_name: name,
    replication: 'true',
  } as pg.ClientConfig)
  client.on('error', () => {})
  await client.connect()
  const { rows } = await client.query<{ xlogpos: string }>('IDENTIFY_SYSTEM')
  // It lasts until the connection ends.
  client.query(`START_REPLICATION PHYSICAL ${rows[0]!.xlogpos}`).catch(() => {})
  const wire = (client as unknown as { readonly connection: Wire }).connection
  await new Promise<void>((resolve) => wire.on('copyData', () => resolve()))
  return {
    async holdBack() {
      const feedback = Buffer.alloc(25)
      feedback.write('h')
      feedback.writeBigInt64BE(BigInt(Date.now() - Date.UTC(2000, 0, 1)) * 1000n, 1)
      feedback.writeUInt32BE(3, 9) // xmin: the first that is an ordinary one
      wire.sendCopyFromChunk(feedback)
    },
    async [Symbol.asyncDispose]() {
      ;(
        client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }
      ).connection.stream.destroy()
    },
  }
}
