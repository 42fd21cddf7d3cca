// Attack: a page that tells the upstream who it is, by every header that some proxy or framework believes.
// R006 R051 R509
import { describe, expect, test } from 'vitest'
import { runtime } from '../support/coatcheck.ts'
import { expectNone } from '../support/corpus.ts'
import { ask } from '../support/raw.ts'
import { sharedWorld } from '../support/shared-world.ts'
import type { UpstreamRequest } from '../support/upstream.ts'

const mark = 'ATTACK'

/** Names (as sent by coatcheck to the upstream) of the headers that carry the attacker's mark. */
const marked = ({ rawHeaders }: UpstreamRequest) =>
  rawHeaders.filter((_, index) => index % 2 === 0 && rawHeaders[index + 1]?.includes(mark))

describe('R509 Identity from the browser', () => {
  const shared = sharedWorld()

  const families: Record<string, readonly string[]> = {
    'credentials of its own': [
      'Authorization',
      'DPoP',
      'Proxy-Authorization',
      'Cookie2',
      'Sec-Token-Binding',
      'Secure-Session-Response',
    ],
    'what a trusted hop would say': [
      ...[
        'Forwarded',
        'X-Forwarded-For',
        'X-Forwarded-Host',
        'X-Forwarded-Proto',
        'X-Forwarded-Port',
        'X-Forwarded-Server',
      ],
      ...['X-Forwarded-Prefix', 'X-Forwarded-Scheme', 'X-Forwarded-Ssl', 'X-Forwarded-User', 'X-Forwarded-Email'],
      ...[
        'X-Forwarded-Groups',
        'X-Forwarded-Preferred-Username',
        'X-Forwarded-Access-Token',
        'X-Forwarded-Client-Cert',
      ],
      ...[
        'X-Real-IP',
        'X-Client-IP',
        'True-Client-IP',
        'CF-Connecting-IP',
        'CF-Connecting-IPv6',
        'X-Cluster-Client-IP',
        'Via',
      ],
      ...[
        'Fastly-Client-IP',
        'X-Envoy-External-Address',
        'X-Original-Forwarded-For',
        'X-Azure-ClientIP',
        'X-Appengine-User-IP',
      ],
    ],
    'a client certificate': [
      ...[
        'Client-Cert',
        'Client-Cert-Chain',
        'X-Client-Cert',
        'X-SSL-Client-Cert',
        'X-SSL-Client-S-DN',
        'X-SSL-Client-Verify',
      ],
      ...['SSL-Client-Cert', 'SSL-Client-Verify', 'SSL-Client-S-DN', 'X-ARR-ClientCert', 'X-Amzn-Mtls-Clientcert'],
    ],
    'a user name': [
      ...[
        'Remote-User',
        'X-Remote-User',
        'X-User',
        'X-Auth-Request-User',
        'X-Auth-Request-Email',
        'X-Auth-Request-Access-Token',
      ],
      ...[
        'X-Authenticated-User',
        'X-Authenticated-Userid',
        'X-WebAuth-User',
        'X-Consumer-Username',
        'X-Credential-Identifier',
      ],
      ...[
        'Remote-Name',
        'Remote-Email',
        'Remote-Groups',
        'X-Remote-Group',
        'X-Authentik-Username',
        'Tailscale-User-Login',
      ],
      ...['X-Goog-Authenticated-User-Email', 'X-Goog-IAP-JWT-Assertion', 'Cf-Access-Authenticated-User-Email'],
      ...['Cf-Access-Jwt-Assertion', 'X-Amzn-Oidc-Data', 'X-Amzn-Oidc-Identity', 'X-Amzn-Oidc-Accesstoken'],
      ...[
        'X-MS-Client-Principal',
        'X-MS-Client-Principal-Name',
        'X-MS-Token-AAD-Access-Token',
        'Impersonate-User',
        'X-Pomerium-Jwt-Assertion',
      ],
    ],
    'what other hops would say': [
      ...['Proxy', 'Proxy-Client-IP', 'WL-Proxy-Client-IP', 'X-Forwarded', 'Forwarded-For', 'X-Forward-For'],
      ...['X-Originating-IP', 'X-ProxyUser-Ip', 'X-Client-DN', 'X-Client-Verify', 'Front-End-Https', 'X-Scheme'],
      ...['X-User-Email', 'X-User-Roles', 'X-Auth-User', 'X-Email', 'X-Roles', 'X-Groups'],
      ...['X-Endpoint-API-UserInfo', 'X-Apigateway-Api-Userinfo', 'X-Backend-Host'],
    ],
    'another request': [
      ...['X-Original-URL', 'X-Rewrite-URL', 'X-Original-URI', 'X-Original-Host', 'X-Host', 'X-Original-Method'],
      ...['X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override'],
    ],
  }
  for (const [what, names] of Object.entries(families)) {
    test(`${what} does not reach the upstream, in whatever case it is written`, async () => {
      const { url, api } = shared()
      const passed: string[] = []
      for (const name of names) {
        for (const written of [name, name.toUpperCase()]) {
          // In front of a Worker that is Cloudflare's own header, which no browser can set.
          if (runtime === 'workerd' && name === 'CF-Connecting-IP') continue
          const { status } = await ask(url, 'GET /api/open/x', [`${written}: ${mark}`])
          if (status !== 200) passed.push(`${written} -> ${status}`)
          else if (marked(api.last()).length > 0) passed.push(`${written} -> forwarded`)
        }
      }
      expectNone(passed)
    })
  }

  test('what a page has to say to its own API does', async () => {
    const { url, api } = shared()
    const missing: string[] = []
    for (const name of [
      ...[
        'X-Api-Key',
        'X-Auth-Token',
        'X-User-Agent',
        'X-User-Preferences',
        'X-Client-Version',
        'X-Client-Id',
        'X-Tenant',
      ],
      ...[
        'X-Request-Id',
        'X-Correlation-Id',
        'Idempotency-Key',
        'X-Requested-With',
        'Prefer',
        'If-Match',
        'X-Amz-Target',
      ],
      ...['Mcp-Session-Id', 'Last-Event-Id', 'Apollographql-Client-Name', 'Grpc-Timeout', 'X-Scope-OrgID'],
    ]) {
      await ask(url, 'GET /api/open/x', [`${name}: ${mark}`])
      if (marked(api.last()).length !== 1) missing.push(name)
    }
    expectNone(missing)
  })

  test('names with an underscore do not reach the upstream: many servers read them as names with a hyphen', async () => {
    const { url, api } = shared()
    const passed: string[] = []
    for (const name of [
      'X_Forwarded_For',
      'X-Forwarded_For',
      'Remote_User',
      'HTTP_AUTHORIZATION',
      'x_anything',
      '_',
      'a_',
      'Content_Length',
    ]) {
      const { status } = await ask(url, 'GET /api/open/x', [`${name}: ${mark}`])
      if (status === 200 ? marked(api.last()).length > 0 : status !== 400) passed.push(`${name} -> ${status}`)
    }
    expectNone(passed)
  })

  test("R006 a page's own Authorization is replaced by exactly one, of the session", async () => {
    const { url, api, browser } = shared()
    const user = browser()
    await user.signIn()
    const cookie = `Cookie: ${user.cookieHeader()}`
    const lies = [
      ['Authorization: Bearer ATTACK'],
      ['Authorization: Bearer ATTACK', 'Authorization: Basic ATTACK'],
      ['AUTHORIZATION: DPoP ATTACK', 'DPoP: ATTACK'],
    ]
    for (const lines of lies) {
      await ask(url, 'GET /api/x', [cookie, ...lines])
      const { rawHeaders } = api.last()
      const sent = rawHeaders.filter(
        (_, index) => rawHeaders[index - 1]?.toLowerCase() === 'authorization' && index % 2 === 1,
      )
      expect(sent, String(lines)).toEqual([expect.stringMatching(/^Bearer ey[\w.-]+$/)])
    }
  })

  test('R006 without a session nothing is authorized, whatever the page sends', async () => {
    const { url, api } = shared()
    for (const path of ['/api/open/x', '/api/maybe/x']) {
      await ask(url, `GET ${path}`, ['Authorization: Bearer ATTACK'])
      expect(api.last().headers, path).not.toHaveProperty('authorization')
    }
  })

  test('R051 what coatcheck says of the request is said once, and comes from its configuration', async () => {
    const { url, api, publicUrl } = shared()
    const lies = [
      'X-Forwarded-Host: evil.test',
      'X-Forwarded-Proto: gopher',
      'X-Forwarded-Host: evil2.test',
      'Host: evil.test',
    ]
    await ask(url, 'GET /api/open/x', lies.slice(0, 3))
    const { rawHeaders, headers } = api.last()
    const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
    for (const name of ['x-forwarded-host', 'x-forwarded-proto', 'traceparent', 'host']) {
      expect(
        names.filter((one) => one === name),
        name,
      ).toHaveLength(1)
    }
    expect(headers['x-forwarded-host']).toBe(new URL(publicUrl).host)
    expect(headers['x-forwarded-proto']).toBe('http')
  })

  test('the trace of a page is continued only if it is one', async () => {
    const { url, api } = shared()
    const good = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await ask(url, 'GET /api/open/x', [`traceparent: ${good}`, 'tracestate: vendor=1'])
    expect(api.last().headers.traceparent).toMatch(
      /^00-0af7651916cd43dd8448eb211c80319c-(?!b7ad6b7169203331)[0-9a-f]{16}-01$/,
    )
    expect(api.last().headers.tracestate).toBe('vendor=1')
    const bad = [
      'x',
      `${good}-extra`,
      `ff${good.slice(2)}`,
      good.toUpperCase(),
      '00-00000000000000000000000000000000-b7ad6b7169203331-01',
      `${good}, ${good}`,
    ]
    for (const value of bad) {
      await ask(url, 'GET /api/open/x', [`traceparent: ${value}`, 'tracestate: vendor=1'])
      expect(api.last().headers.traceparent, value).toMatch(/^00-(?!0af7651916)[0-9a-f]{32}-[0-9a-f]{16}-01$/)
      expect(api.last().headers.tracestate, value).toBeUndefined()
    }
  })
})
