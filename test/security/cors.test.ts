// Attack: another origin reads answers, with coatcheck's help or with the upstream's.
// R304 R306
import { describe, expect, test } from 'vitest'
import { expectNone } from '../support/corpus.ts'
import { ask, converse, head } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'

const paths = [
  '/api/x',
  '/api/open/x',
  '/auth/session',
  '/auth/login',
  '/auth/callback',
  '/auth/logout',
  '/healthz',
  '/nothing',
]

describe('R304 R306 Cross-origin reading', () => {
  const shared = sharedWorld()
  const origins = () => {
    const { publicUrl } = shared()
    return ['https://evil.test', 'null', `http://sibling.localhost:${new URL(publicUrl).port}`, `${publicUrl}.evil`]
  }
  const grants = (headers: Headers) => [...headers.keys()].filter((name) => name.startsWith('access-control-'))

  test('R304 is never granted by an answer of our own', async () => {
    const { url } = shared()
    const wrong: string[] = []
    for (const path of paths) {
      for (const origin of origins()) {
        const { headers } = await ask(url, `GET ${path}`, [`Origin: ${origin}`])
        if (grants(headers).length > 0) wrong.push(`${path} for ${origin}: ${grants(headers)}`)
      }
    }
    expectNone(wrong)
  })

  test('R304 is never granted by an upstream, not even to the application itself', async () => {
    const { api, publicUrl, browser } = shared()
    const granted = {
      'access-control-allow-origin': publicUrl,
      'access-control-allow-credentials': 'true',
      'access-control-allow-headers': '*',
      'access-control-allow-methods': '*',
      'access-control-allow-private-network': 'true',
      'access-control-expose-headers': '*',
      'access-control-max-age': '86400',
    }
    api.answer = (_, response) => {
      response.writeHead(200, granted)
      response.end('{}')
    }
    for (const method of ['GET', 'POST', 'OPTIONS']) {
      const answer = await browser().fetch('/api/open/x', { method })
      expect(answer.status, method).toBe(200)
      expect(grants(answer.headers), method).toEqual([])
    }
  })

  test('R306 preflights of other origins are refused here and never reach the upstream', async () => {
    const { url, api, browser } = shared()
    const user = browser()
    await user.signIn()
    const before = api.requests.length
    const wrong: string[] = []
    for (const origin of origins()) {
      for (const path of ['/api/x', '/api/open/x', '/auth/session', '/auth/logout']) {
        for (const site of ['cross-site', 'same-site', undefined]) {
          const [answer] = await converse(
            url,
            head(`OPTIONS ${path}`, [
              ...[`Origin: ${origin}`, 'Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: x-csrf'],
              ...['Access-Control-Request-Private-Network: true', 'Sec-Fetch-Mode: cors', 'Connection: close'],
              ...(site ? [`Sec-Fetch-Site: ${site}`] : []),
            ]),
          )
          const isRefused = answer !== undefined && answer.status >= 400 && answer.status < 500
          if (!isRefused || grants(answer.headers).length > 0)
            wrong.push(`${origin} ${path} ${site} -> ${answer?.status}`)
        }
      }
    }
    expectNone(wrong)
    expect(api.requests.length).toBe(before)
  })
})
