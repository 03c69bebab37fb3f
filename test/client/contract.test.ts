import pg from 'pg'
import postgres from 'postgres'
import { describe } from 'vitest'
import { variant } from '../support/variant.js'
import { contract, type Variant } from './contract.js'

// Shared connections go where dueq sends its statements, and through a pooler without prepared ones.
const quiet = { max: 3, onnotice: () => {}, ...(variant.pooler === undefined ? {} : { prepare: false }) }

const postgresJs =
  (options: postgres.Options<Record<string, postgres.PostgresType>>): Variant =>
  (url) => {
    const sql = postgres(url, { ...quiet, ...options })
    return { options: { sql }, end: () => sql.end() }
  }

const connections: Readonly<Record<string, Variant>> = {
  'a URL': (url) => ({ options: { url } }),
  'a URL, prepare: false': (url) => ({ options: { url, prepare: false, max: 1 } }),
  'a shared postgres.js': postgresJs({}),
  'a shared postgres.js, prepare: false': postgresJs({ prepare: false }),
  'a shared postgres.js that changes names, values and null': postgresJs({
    transform: { ...postgres.camel, undefined: null },
    types: {
      bigint: postgres.BigInt,
      date: { to: 1184, from: [1082, 1114, 1184], serialize: String, parse: () => 'a date of its own' },
      json: { to: 3802, from: [114, 3802], serialize: JSON.stringify, parse: () => 'a JSON of its own' },
      boolean: { to: 16, from: [16], serialize: String, parse: () => 'a boolean of its own' },
      numbers: { to: 23, from: [20, 21, 23, 26, 700, 701, 1700], serialize: String, parse: () => -1 },
    },
  }),
  'a shared postgres.js without array types': postgresJs({ fetch_types: false }),
  'a pg pool': (url) => {
    const pool = new pg.Pool({ connectionString: url, max: 3 })
    return { options: { pool }, end: () => pool.end() }
  },
  'a pg pool with parsers of its own': (url) => {
    const text = pg.types.builtins.TEXT
    const getTypeParser = (oid: number) => (oid === text ? String : () => 'a value of its own')
    const pool = new pg.Pool({ connectionString: url, max: 3, types: { getTypeParser } as pg.CustomTypesConfig })
    return { options: { pool }, end: () => pool.end() }
  },
  'a query function with object rows': (url) => {
    const pool = new pg.Pool({ connectionString: url, max: 3 })
    return { options: { query: async (text, params) => (await pool.query(text, params)).rows }, end: () => pool.end() }
  },
  'a query function with array rows': (url) => {
    const sql = postgres(url, quiet)
    return { options: { query: (text, params) => sql.unsafe(text, params).values() }, end: () => sql.end() }
  },
}

for (const [name, variant] of Object.entries(connections)) describe(`over ${name}`, () => contract(variant))
