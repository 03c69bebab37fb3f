import type { Client } from 'pg'
export function dumpSchema(client: Client, schema: string): Promise<string>
