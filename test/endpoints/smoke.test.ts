import { expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'

test('smoke', async () => {
  const world = await startWorld()
  const b = world.browser()
  const cb = await b.signIn('?returnTo=/deep?x=1')
  console.log(
    cb.status,
    cb.headers.get('location'),
    cb.setCookie.map((c) => c.slice(0, 60) + ' ' + c.length),
    cb.text,
  )
  console.log((await b.fetch('/auth/session')).text)
  const r = await b.fetch('/api/orders/7?x=1')
  console.log(r.status, r.text, [...r.headers], world.api.last().rawHeaders)
  const p = await b.fetch('/api/orders', { method: 'POST', body: 'hello', headers: { 'content-type': 'text/plain' } })
  console.log(p.status, p.text, world.api.last())
  const out = await b.fetch('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })
  console.log(out.status, out.text, out.setCookie)
  console.log(world.events)
  expect(1).toBe(1)
})
