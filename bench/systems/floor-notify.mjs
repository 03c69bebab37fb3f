// Bare SQL that notifies: each INSERT carries a NOTIFY, and its consumer sleeps in LISTEN.
import { createFloor } from './floor/floor.mjs'

export default createFloor({
  name: 'floor-notify',
  notifies: true,
  settings: 'bare INSERT with pg_notify in the same statement, LISTEN, lease and DELETE',
})
