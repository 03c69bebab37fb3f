// The whole suite with dueq behind PgBouncer in transaction mode: once with LISTEN on a direct connection, where every test
// passes, and once with LISTEN through the pooler, which swallows notifications, where those that need one are skipped.
// Usage: npm run test:pooler -- [--majors 18] [--drivers postgres,pg] [--listen direct,pooler] [test files]
import { readArguments, runVariants } from './variants.mjs'

const { majors, drivers, listen, files } = readArguments({
  majors: { all: ['14', '15', '16', '17', '18'], usual: ['18'] },
  drivers: { all: ['postgres', 'pg'], usual: ['postgres'] },
  listen: { all: ['direct', 'pooler'] },
})
const variants = majors.flatMap((major) =>
  drivers.flatMap((driver) =>
    listen.map((where) => ({
      name: `PgBouncer, LISTEN ${where === 'direct' ? 'direct' : 'through it'}, ${major}, ${driver === 'pg' ? 'pg pool' : 'URL'}`,
      maySkip: where === 'pooler',
      env: {
        DUEQ_TEST_BACKEND: 'embedded',
        DUEQ_TEST_PG_MAJOR: major,
        DUEQ_TEST_DRIVER: driver,
        DUEQ_TEST_POOLER: 'pgbouncer',
        DUEQ_TEST_LISTEN: where,
      },
    })),
  ),
)
await runVariants(variants, files)
