/**
 * dueq: a delay queue inside the PostgreSQL you already run.
 *
 * ```ts
 * import { connect, defineQueue } from 'dueq'
 *
 * const reminders = defineQueue<{ userId: number }>('reminders', { lease: '30s' })
 * const dueq = connect(process.env.DATABASE_URL)
 * await dueq.ensure([reminders])
 * await dueq.queue(reminders).enqueue({ userId: 7 }, { delay: '10m' })
 * const consumer = dueq.queue(reminders).consume(async ({ payload }) => console.log('remind', payload.userId))
 * process.once('SIGTERM', () => dueq.close({ deadline: '25s' }))
 * ```
 *
 * @module
 */
export type { StopOptions, StopReport } from './client.js'
export { connect, type Dueq, type DueqInTransaction } from './connect.js'
export type { ConnectOptions } from './connect-options.js'
export type { ConsumeOptions } from './consume-options.js'
export type { Consumer, ConsumerStatus } from './consumer.js'
export { defineQueue, type Queue, type QueueDefinition, type QueueSettings } from './definition.js'
export type { DequeueOptions } from './dequeue.js'
export type { Connection, PgQueryable, PostgresJs, QueryFunction } from './driver.js'
export { DueqError, type DueqErrorCode, isDueqError, LeaseLostError } from './errors.js'
export type { DueqEvent, SettingDifference } from './events.js'
export type { Handler } from './handlers.js'
export type { MessagesOptions } from './iterate.js'
export type { Message, MessageVerbs } from './message.js'
export { type MigrateOptions, type MigrationStatus, migrate, migrationSql, migrationStatus } from './migrate.js'
export type { Duration, Instant } from './options.js'
export type { EnqueueOptions } from './prepare.js'
export type { EnqueueItem } from './produce.js'
export type { Producer, QueueHandle } from './queue.js'
export type { Check } from './statements-doctor.js'
export type { QueueStats } from './statements-operate.js'
export type { Enqueued } from './statements-produce.js'
