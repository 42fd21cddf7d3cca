// Attack: metadata that sends us where its author cannot go himself: into our network, to the cloud's metadata service, to
// another protocol, or with credentials of his choice (R044, R058; ASVS 15.3.2). Through the library, because here the issuer
// must be somewhere on the Internet.
import { describe, expect, test } from 'vitest'
import { createCoatcheck, type LogEvent, webPlatform } from '../../src/index.ts'
import { sessionKey } from '../support/coatcheck.ts'

type Metadata = Record<string, unknown>

/** Tries to sign in at a server on the Internet that says this of itself. */
async function signInAt(issuer: string, lies: Metadata) {
  const asked: string[] = []
  const events: LogEvent[] = []
  const metadata = {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    ...lies,
  }
  const app = createCoatcheck(
    {
      publicUrl: 'https://app.example.com',
      session: { keys: [sessionKey()] },
      providers: [
        { id: 'main', issuer, clientId: 'app', clientAuth: { method: 'client_secret_basic', secret: 'CANARY-secret' } },
      ],
    },
    {
      platform: (config) => ({
        ...webPlatform(config),
        log: (event) => events.push(event),
        fetch: async (url) => {
          asked.push(url)
          return Response.json(metadata)
        },
      }),
    },
  )
  const answer = await app.request('https://app.example.com/auth/login', {
    headers: { 'sec-fetch-mode': 'navigate', 'sec-fetch-site': 'same-origin' },
  })
  return { status: answer.status, text: await answer.text(), asked, events, cookies: answer.headers.getSetCookie() }
}

const issuer = 'https://as.example.com'

describe('R044 R058 metadata of a server on the Internet', () => {
  const inside = [
    'https://127.0.0.1/x',
    'https://localhost/x',
    'https://localhost./x',
    'https://db.localhost/x',
    'https://[::1]/x',
    'https://[::ffff:127.0.0.1]/x',
    'https://2130706433/x',
    'https://0x7f.1/x',
    'https://0.0.0.0/x',
    'https://[::]/x',
    'https://169.254.169.254/latest/meta-data',
    'https://[::ffff:a9fe:a9fe]/latest/meta-data',
    'https://[64:ff9b::a9fe:a9fe]/latest/meta-data',
    'https://[2002:a9fe:a9fe::]/latest/meta-data',
    'https://[fe80::1]/x',
    'https://10.0.0.1/x',
    'https://172.16.0.1/x',
    'https://192.168.1.1/x',
    'https://100.64.0.1/x',
    'https://[fd00:ec2::254]/x',
    'https://224.0.0.1/x',
    'https://255.255.255.255/x',
  ]
  const strange = [
    'http://as.example.com/x',
    'http://127.0.0.1/x',
    'https://user:password@as.example.com/x',
    'https://user@as.example.com/x',
    'https://as.example.com/x#fragment',
    'ftp://as.example.com/x',
    'file:///etc/passwd',
    'data:application/json,{}',
    'javascript:alert(1)',
    'blob:https://as.example.com/1',
    '//as.example.com/x',
    '/x',
    '',
  ]

  test.each([...inside, ...strange])('leads nobody to %j', async (url) => {
    for (const name of ['token_endpoint', 'jwks_uri', 'userinfo_endpoint', 'end_session_endpoint']) {
      const { status, text, asked, events, cookies } = await signInAt(issuer, { [name]: url })
      expect([name, status]).toEqual([name, 503])
      expect(text).not.toContain(url || 'CANARY')
      expect(cookies).toEqual([])
      expect(asked).toEqual([`${issuer}/.well-known/openid-configuration`])
      const [told] = events.filter(({ event }) => event === 'provider.unavailable')
      expect(told).toMatchObject({ provider: 'main', reason: expect.stringMatching(/^metadata_incomplete$/) })
      expect(JSON.stringify(events)).not.toContain('CANARY')
    }
  })

  test('leads nobody inside by way of the endpoints for clients with certificates', async () => {
    const { status } = await signInAt(issuer, { mtls_endpoint_aliases: { token_endpoint: 'https://10.0.0.1/token' } })
    expect(status).toBe(503)
  })

  test.each(['https://tokens.example.net/x', 'https://1.1.1.1/x', 'https://[2606:4700::1111]/x', `${issuer}:8443/x`])(
    'may lead to %s',
    async (url) => {
      expect((await signInAt(issuer, { token_endpoint: url, jwks_uri: url })).status).toBe(303)
    },
  )
})

describe('R058 metadata of a server in a private network', () => {
  test.each<[string, string]>([
    ['https://10.1.2.3', 'https://10.1.2.4/token'],
    ['https://10.1.2.3', 'https://192.168.0.9/token'],
    ['https://[fd00::1]', 'https://[fd00::2]/token'],
  ])('at %s may lead to %s', async (at, url) => {
    expect((await signInAt(at, { token_endpoint: url })).status).toBe(303)
  })

  test.each<[string, string]>([
    ['https://10.1.2.3', 'https://169.254.169.254/token'],
    ['https://10.1.2.3', 'https://127.0.0.1/token'],
    ['https://127.0.0.1', 'https://10.0.0.1/token'],
  ])('at %s may not lead to %s', async (at, url) => {
    expect((await signInAt(at, { token_endpoint: url })).status).toBe(503)
  })
})
