import { expect, it } from 'vitest'
import { hostsOf } from '../../src/hosts.js'

it('the hosts of a URL have a port each, and the URL for the driver has one host and no target_session_attrs', () => {
  const { url, hosts, urlOf } = hostsOf(
    'postgres://me:p%40,s@h1:5432,h2,[::1]:6000/db?sslmode=require&target_session_attrs=primary&application_name=x',
  )
  expect(hosts).toEqual([
    { host: 'h1', port: 5432 },
    { host: 'h2', port: 5432 },
    { host: '::1', port: 6000 },
  ])
  expect(url).toBe('postgres://me:p%40,s@h1:5432/db?sslmode=require&application_name=x')
  expect(urlOf(hosts[2]!)).toBe('postgres://me:p%40,s@[::1]:6000/db?sslmode=require&application_name=x')
})

it('a URL of one host stays what it is', () => {
  for (const url of ['postgres://u:p@h/db', 'postgresql://h:1', 'postgres://u@h:1/db?a=b'])
    expect(hostsOf(url).url).toBe(url)
  expect(hostsOf('postgres://h/db?target_session_attrs=read-write').url).toBe('postgres://h/db')
})
