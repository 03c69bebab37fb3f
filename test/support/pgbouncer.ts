// PgBouncer of the command line, as the tests know it.
export { findPgBouncer, missingPgBouncer, type PgBouncer, startPgBouncer } from '../../src/cli/pgbouncer.js'
