// Bare SQL through postgres.js: what PostgreSQL takes for the same work, with nothing around it.
import { createFloor } from './floor/floor.mjs'

export default createFloor({
  name: 'floor',
  notifies: false,
  settings: 'bare INSERT, unnest INSERT, lease (UPDATE … SKIP LOCKED) and DELETE; looks every 10 ms',
})
