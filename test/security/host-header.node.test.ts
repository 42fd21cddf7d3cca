// Host header poisoning where the bytes on the socket matter: absolute-form targets, several hosts, hosts that are none
// (R027, R510; RFC 9112 3.2). Node only: on workerd the edge in front decides about such requests.
import { describe, expect, test } from 'vitest'
import { startWorld } from '../support/coatcheck.ts'
import { converse, head } from '../support/raw.ts'

const navigation = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Sec-Fetch-Site: none', 'Connection: close']

describe('R027 a login asked for with', () => {
  test.each([
    ['an absolute-form target of another host', head('GET http://evil.test/auth/login', navigation)],
    [
      'an absolute-form target with user information',
      head('GET http://app.localhost@evil.test/auth/login', navigation),
    ],
    ['an absolute-form https target', head('GET https://evil.test:444/auth/login', navigation)],
    ['a target of two slashes', head('GET //evil.test/auth/login', navigation)],
  ])('%s names only our own address, or is refused', async (_, bytes) => {
    await expectOwnAddress(bytes, [303, 400, 404])
  })

  test.each([
    ['two hosts', head('GET /auth/login', ['Host: evil.test', ...navigation])],
    ['no host', `GET /auth/login HTTP/1.1\r\n${navigation.join('\r\n')}\r\n\r\n`],
    ['an empty host', head('GET /auth/login', navigation, '')],
    ['a host with a path', head('GET /auth/login', navigation, 'evil.test/x')],
    ['a host with a query', head('GET /auth/login', navigation, 'evil.test?x')],
    ['a host with user information', head('GET /auth/login', navigation, 'app.localhost@evil.test')],
    ['a host that is half an IPv6 address', head('GET /auth/login', navigation, '[evil')],
    ['a host that is only colons', head('GET /auth/login', navigation, '::::')],
    ['a host with quotes', head('GET /auth/login', navigation, '"><script>')],
  ])('%s is refused', async (_, bytes) => {
    await expectOwnAddress(bytes, [400])
  })
})

async function expectOwnAddress(bytes: string, statuses: number[]): Promise<void> {
  const world = await startWorld()
  const [answer] = await converse(world.url, bytes)
  expect(statuses).toContain(answer?.status)
  const location = answer?.headers.get('location')
  if (location) {
    expect(new URL(location).searchParams.get('redirect_uri')).toBe(`${world.publicUrl}/auth/callback`)
  } else {
    expect(answer?.setCookie).toEqual([])
  }
  expect(`${[...(answer?.headers ?? [])]}${answer?.text}`).not.toContain('evil')
  expect((await world.browser().signIn()).status).toBe(303)
}
