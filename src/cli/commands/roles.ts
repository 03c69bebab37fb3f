// dueq roles: creates the roles for least privilege, or brings them up to date; makes logins their members; undoes it all.
import type { Command } from 'commander'
import { DueqError } from '../../errors.js'
import { roleNames } from '../../privileges.js'
import { fullRoleName, type Membership, membership, rolesSql } from '../../roles.js'
import { run, runOn, type SharedOptions, schemaOf, shared } from '../command.js'
import { print, printJson } from '../output.js'
import { safeText } from '../table.js'

type Options = SharedOptions & {
  readonly prefix?: string
  readonly grant?: readonly string[]
  readonly revoke?: readonly string[]
  readonly drop?: boolean
  readonly sql?: boolean
}

export function rolesCommand(program: Command): void {
  const command = program
    .command('roles')
    .description('create the roles producer, consumer, operator and viewer, or bring their rights up to date')
    .option('--grant <login=role,…>', 'make a login a member: app=producer,consumer; repeatable', collected)
    .option('--revoke <login=role,…>', 'make it a member no more; repeatable', collected)
    .option('--prefix <name>', 'what the names of the roles begin with (default: the schema)')
    .option('--drop', 'take all their rights away, and drop them')
    .option('--sql', 'print the SQL, for a tool of your own; connects to nothing')
  shared(command).action((options: Options) => (options.sql ? printed(options) : applied(options)))
}

// --- internal ---

type Wanted = {
  readonly schema: string
  readonly prefix: string
  readonly grant: readonly Membership[]
  readonly revoke: readonly Membership[]
  readonly drop: boolean
}

function printed(options: Options): Promise<void> {
  return run(options, async () => {
    const wanted = wantedBy(options)
    const sql = rolesSql(wanted)
    if (options.json) printJson({ schema: wanted.schema, sql })
    else process.stdout.write(sql)
  })
}

function applied(options: Options): Promise<void> {
  return runOn(options, async ({ query, isJson }) => {
    const wanted = wantedBy(options)
    const { schema, prefix, grant, revoke, drop } = wanted
    const text = rolesSql(wanted)
    // One text without parameters: the server runs it as it stands, and undoes all of it where a part fails.
    await query(text, [])
    const roles = roleNames.map((role) => fullRoleName(prefix, role))
    if (isJson) return printJson({ schema, roles, isDropped: drop, granted: grant, revoked: revoke })
    const said = drop ? 'Their rights are taken away' : 'Their rights are up to date'
    print(`Schema "${schema}", roles ${roles.join(', ')}. ${said}.`)
    for (const [changes, verb] of [
      [grant, 'is a member of'],
      [revoke, 'is no member of'],
    ] as const)
      for (const { login, roles } of changes)
        print(`${safeText(login)} ${verb} ${roles.map((role) => fullRoleName(prefix, role)).join(', ')}.`)
  })
}

function wantedBy(options: Options): Wanted {
  const schema = schemaOf(options)
  const { prefix = schema, grant = [], revoke = [], drop = false } = options
  if (drop && grant.length + revoke.length > 0)
    throw new DueqError('option.invalid', 'Give `--drop` without `--grant` and `--revoke`: it ends all memberships.')
  return { schema, prefix, grant: grant.map(membership), revoke: revoke.map(membership), drop }
}

function collected(text: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, text]
}
