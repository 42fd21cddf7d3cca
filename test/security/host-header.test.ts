// Host header poisoning: whatever a request says its address is, redirect_uri, links and cookies come from publicUrl
// (R027; RFC 6749 3.1.2, RFC 9700 4.1).
import { describe, expect, test } from 'vitest'
import { faultWorld } from '../support/fault-world.ts'

const evil = 'evil.test'

const poisons: Record<string, Record<string, string>> = {
  Host: { host: evil },
  'Host with a port': { host: `${evil}:443` },
  'Host that only begins like ours': { host: `app.localhost.${evil}` },
  'X-Forwarded-Host': { 'x-forwarded-host': evil },
  'X-Forwarded-Host, -Proto and -Port': {
    'x-forwarded-host': evil,
    'x-forwarded-proto': 'https',
    'x-forwarded-port': '444',
  },
  'X-Forwarded-Prefix': { 'x-forwarded-prefix': `//${evil}` },
  Forwarded: { forwarded: `host=${evil};proto=https` },
  'X-Original-URL and X-Rewrite-URL': { 'x-original-url': `//${evil}/auth/login`, 'x-rewrite-url': `//${evil}/` },
  'X-Host': { 'x-host': evil, 'x-http-host-override': evil },
  'Origin and Referer': { referer: `https://${evil}/` },
}

describe('R027 an address in', () => {
  const world = faultWorld()

  test.each(Object.entries(poisons))('%s changes no address of ours', async (_, headers) => {
    const browser = world.browser()
    const login = await browser.navigate('/auth/login?returnTo=/orders', { headers })
    const location = new URL(login.headers.get('location') ?? '')
    expect(location.searchParams.get('redirect_uri')).toBe(`${world.publicUrl}/auth/callback`)
    expect(location.href).not.toContain(evil)

    const callback = await browser.untilCallback('?returnTo=/orders')
    const finished = await browser.navigate(callback, { headers })
    expect(finished.headers.get('location')).toBe('/orders')
    expect(world.as.to('/token')[0]?.body.get('redirect_uri')).toBe(`${world.publicUrl}/auth/callback`)

    const logout = await browser.fetch('/auth/logout', { method: 'POST', headers })
    const end = new URL(logout.headers.get('location') ?? '')
    expect(end.searchParams.get('post_logout_redirect_uri')).toBe(`${world.publicUrl}/auth/logout/callback`)

    await browser.navigate('/auth/logout/callback', { headers })
    await browser.navigate(callback, { headers })
    await browser.navigate('/auth/login', { headers: { ...headers, 'sec-fetch-site': 'cross-site' } })
    await browser.fetch('/api/orders', { headers })
    expect(browser.seen.join('\n')).not.toContain(evil)
    for (const { headers: sent } of world.as.requests) expect(JSON.stringify(sent)).not.toContain(evil)
  })

  test('Host opens no way around the prefix of the cookies', async () => {
    const answer = await world.browser().navigate('/auth/login', { headers: { host: 'localhost:1' } })
    expect(answer.setCookie).toHaveLength(1)
    expect(answer.setCookie[0]).not.toMatch(/domain=/i)
  })
})
