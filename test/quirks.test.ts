// Quirks of known authorization servers: what is applied without being told, seen from a browser, and the data itself.
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { ConfigInput } from '../src/config.ts'
import { readConfig } from '../src/config-reader.ts'
import { createCoatcheck } from '../src/index.ts'
import { vendors } from '../src/oauth/providers.ts'
import { vendorOf } from '../src/oauth/quirks.ts'
import { createRelyingParty } from '../src/oauth/relying-party.ts'
import { webPlatform } from '../src/web-platform.ts'
import { sessionKey } from './support/coatcheck.ts'

const metadataOf = (issuer: string) => ({
  issuer,
  authorization_endpoint: 'https://as.example.com/authorize',
  token_endpoint: 'https://as.example.com/token',
  jwks_uri: 'https://as.example.com/jwks',
})

/** The query with which a browser is sent to an authorization server of this issuer. */
async function authorizationRequest(issuer: string, more: object = {}): Promise<URLSearchParams> {
  const provider = { id: 'main', issuer, clientId: 'app', clientAuth: { method: 'client_secret_basic', secret: 'x' } }
  const document = {
    publicUrl: 'https://app.example.com',
    session: { keys: [sessionKey()] },
    providers: [{ ...provider, ...more }],
    log: { level: 'silent' },
  } as ConfigInput
  const app = createCoatcheck(document, {
    platform: (config) => ({ ...webPlatform(config), fetch: async () => Response.json(metadataOf(issuer)) }),
  })
  const answer = await app.request('https://app.example.com/auth/login')
  return new URL(answer.headers.get('location') ?? '').searchParams
}

describe('an authorization request', () => {
  test('to Google says access_type=offline instead of a scope that fails there', async () => {
    const asked = await authorizationRequest('https://accounts.google.com')
    expect([asked.get('scope'), asked.get('access_type')]).toEqual(['openid profile email', 'offline'])
  })

  test('to Google asks for no refresh token when the configuration does not', async () => {
    const asked = await authorizationRequest('https://accounts.google.com', { scope: 'openid' })
    expect([asked.get('scope'), asked.get('access_type')]).toEqual(['openid', null])
  })

  test('leaves the last word to the configuration', async () => {
    const authorizationParams = { access_type: 'online' }
    expect(
      (await authorizationRequest('https://accounts.google.com', { authorizationParams })).getAll('access_type'),
    ).toEqual(['online'])
  })

  test('to Cognito leaves out a scope that fails there', async () => {
    const asked = await authorizationRequest('https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc')
    expect([asked.get('scope'), asked.get('access_type')]).toEqual(['openid profile email', null])
  })

  test.each([
    'https://accounts.google.com.example.com',
    'https://cognito-idp.example.com/eu-west-1_abc',
    'https://login.example.com/realms/main',
  ])('to %s is what the configuration says', async (issuer) => {
    const asked = await authorizationRequest(issuer)
    expect([asked.get('scope'), asked.get('access_type')]).toEqual(['openid profile email offline_access', null])
  })
})

describe('a sign-out', () => {
  const uri = 'https://app.example.com/auth/logout/callback'

  test.each([
    ['https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc', uri],
    ['https://login.example.com', null],
  ])('from %s carries as logout_uri %s', async (issuer, expected) => {
    const provider = { id: 'main', issuer, clientId: 'app', clientAuth: { method: 'client_secret_basic', secret: 'x' } }
    const config = readConfig({
      publicUrl: 'https://app.example.com',
      session: { keys: [sessionKey()] },
      providers: [provider],
    })
    const end_session_endpoint = 'https://as.example.com/logout'
    const platform = {
      ...webPlatform(config),
      fetch: async () => Response.json({ ...metadataOf(issuer), end_session_endpoint }),
    }
    const [settings] = config.providers
    if (!settings) throw new Error('no provider')
    const relyingParty = createRelyingParty(settings, '/auth/callback', config, { ...platform, log: () => {} })
    const asked = (await relyingParty.endSessionUrl(undefined, 'state'))?.searchParams
    expect([asked?.get('logout_uri'), asked?.get('post_logout_redirect_uri'), asked?.get('client_id')]).toEqual([
      expected,
      uri,
      'app',
    ])
  })
})

describe('the table', () => {
  test.each([
    ['https://login.example.com/realms/main', 'keycloak'],
    ['https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0', 'entra'],
    ['https://tenant.eu.auth0.com/', 'auth0'],
    ['https://dev-1.okta.com/oauth2/default', 'okta'],
    ['https://accounts.google.com', 'google'],
    ['https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbC123', 'cognito'],
    ['https://acme-x1y2.zitadel.cloud', 'zitadel'],
    ['https://id.example.com/application/o/app/', 'authentik'],
    ['https://auth.pingone.eu/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/as', 'ping'],
    ['https://as.example.com', undefined],
    ['https://okta.com.example.com', undefined],
  ])('recognises %s as %s', (issuer, id) => {
    expect(vendorOf(issuer)?.id).toBe(id)
  })

  test('recognises others by their metadata', () => {
    const issuer = 'https://id.example.com'
    expect(vendorOf(issuer, { token_endpoint: `${issuer}/oauth/v2/oauth-token` })?.id).toBe('curity')
    expect(vendorOf(issuer, { jwks_uri: `${issuer}/.well-known/openid-configuration/jwks` })?.id).toBe('duende')
    expect(vendorOf(issuer, { token_endpoint: `${issuer}/as/token.oauth2` })?.id).toBe('pingfederate')
    expect(vendorOf(issuer, { jwks_uri: 7 })).toBe(undefined)
  })

  test('changes only what goes to the vendor itself, and says for each fact where it is from', () => {
    expect(vendors.filter(({ applied }) => applied).map(({ id }) => id)).toEqual(['google', 'cognito'])
    const sources = [...JSON.stringify(vendors).matchAll(/"source":"([^"]*)"/g)].map(([, source]) => source)
    expect(sources.length).toBeGreaterThan(25)
    expect(sources.filter((source) => !source?.startsWith('https://'))).toEqual([])
  })

  test.each(vendors.map(({ id, name }) => [id, name]))('has a page on %s, named %s there', (id, name) => {
    expect(existsSync(`docs/providers/${id}.md`)).toBe(true)
    const page = readFileSync(`docs/providers/${id}.md`, 'utf8')
    expect(page.startsWith(`# ${name}`)).toBe(true)
    for (const path of ['/auth/callback', '/auth/logout/callback']) expect(page).toContain(path)
  })
})
