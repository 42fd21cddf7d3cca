// Hostile ID tokens: each row is an ID token with one thing wrong with it, and must sign nobody in (R100-R113, R021, R039;
// OpenID Connect Core 3.1.3.7, RFC 8725). With it go the rows of the conformance plans oidcc-client-basic and -config.
import { createHash, createPublicKey, generateKeyPairSync, KeyObject } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Reason } from '../../src/reasons.ts'
import type { AuthorizationServer } from '../support/authorization-server.ts'
import { faultWorld } from '../support/fault-world.ts'
import { es256, hs256, jwt, readJwt, rs256, unsigned } from '../support/forge.ts'
import { closeAfterTest, listen } from '../support/http-server.ts'
import { expectLoginRefused, expectNoCanary } from '../support/oracles.ts'

type Claims = Record<string, unknown>

interface Row {
  title: string
  reason: Reason | Reason[]
  /** Changes the claims or the header before the honest key signs them. */
  claims?: (claims: Claims, as: AuthorizationServer) => void
  header?: Claims
  /** Makes another token of the honest one. */
  forged?: (honest: string, as: AuthorizationServer) => string | Promise<string>
  query?: string
}

const now = () => Math.floor(Date.now() / 1_000)
const day = 86_400
const malformedToken: Reason = 'id_token_malformed'
const badSignature: Reason = 'id_token_signature'
const refusedAlgorithm: Reason = 'id_token_algorithm_refused'

const wrongClaims: Row[] = [
  {
    title: 'R100 an issuer with one character more (oidcc-client-test-invalid-iss)',
    claims: (claims) => Object.assign(claims, { iss: `${claims.iss}1` }),
    reason: 'id_token_claim',
  },
  {
    title: 'R100 an issuer with a slash at the end',
    claims: (claims) => Object.assign(claims, { iss: `${claims.iss}/` }),
    reason: 'id_token_claim',
  },
  {
    title: 'R100 an issuer in a list',
    claims: (claims) => Object.assign(claims, { iss: [claims.iss] }),
    reason: malformedToken,
  },
  { title: 'R100 no issuer', claims: (claims) => delete claims.iss, reason: malformedToken },
  {
    title: 'R101 another audience (oidcc-client-test-invalid-aud)',
    claims: (claims) => Object.assign(claims, { aud: `${claims.aud}1` }),
    reason: 'id_token_claim',
  },
  { title: 'R101 no audience (missing-aud)', claims: (claims) => delete claims.aud, reason: malformedToken },
  {
    title: 'R101 an empty list of audiences',
    claims: (claims) => Object.assign(claims, { aud: [] }),
    reason: 'id_token_claim',
  },
  {
    title: 'R101 an audience that only begins like us',
    claims: (claims) => Object.assign(claims, { aud: `${claims.aud} evil` }),
    reason: 'id_token_claim',
  },
  {
    title: 'R101 a second audience',
    claims: (claims) => Object.assign(claims, { aud: [claims.aud, 'evil'] }),
    reason: 'id_token_claim',
  },
  {
    title: 'R101 a second audience, with us as authorized party',
    claims: (claims) => Object.assign(claims, { aud: [claims.aud, 'evil'], azp: claims.aud }),
    reason: 'id_token_claim',
  },
  {
    title: 'R102 somebody else as authorized party',
    claims: (claims) => Object.assign(claims, { azp: 'evil' }),
    reason: 'id_token_claim',
  },
  {
    title: 'R102 an authorized party that is no string',
    claims: (claims) => Object.assign(claims, { azp: [claims.aud] }),
    reason: 'id_token_claim',
  },
  { title: 'R104 no expiry', claims: (claims) => delete claims.exp, reason: malformedToken },
  {
    title: 'R104 an expiry ten minutes ago',
    claims: (claims) => Object.assign(claims, { exp: now() - 600 }),
    reason: 'id_token_time',
  },
  {
    title: 'R104 an expiry just beyond what clocks may differ by',
    claims: (claims) => Object.assign(claims, { exp: now() - 61 }),
    reason: 'id_token_time',
  },
  {
    title: 'R104 an expiry that is text',
    claims: (claims) => Object.assign(claims, { exp: String(claims.exp) }),
    reason: malformedToken,
  },
  {
    title: 'R104 a beginning that has not come yet (nbf)',
    claims: (claims) => Object.assign(claims, { nbf: now() + 600 }),
    reason: 'id_token_time',
  },
  {
    title: 'R105 no time of issue (oidcc-client-test-missing-iat)',
    claims: (claims) => delete claims.iat,
    reason: malformedToken,
  },
  {
    title: 'R105 a time of issue tomorrow',
    claims: (claims) => Object.assign(claims, { iat: now() + day, exp: now() + 2 * day }),
    reason: 'id_token_time',
  },
  {
    title: 'R105 a time of issue that is text',
    claims: (claims) => Object.assign(claims, { iat: 'now' }),
    reason: malformedToken,
  },
  {
    title: 'R106 R039 another nonce (oidcc-client-test-nonce-invalid)',
    claims: (claims) => Object.assign(claims, { nonce: `${claims.nonce}1` }),
    reason: 'id_token_claim',
  },
  { title: 'R106 R039 no nonce', claims: (claims) => delete claims.nonce, reason: malformedToken },
  { title: 'R106 an empty nonce', claims: (claims) => Object.assign(claims, { nonce: '' }), reason: 'id_token_claim' },
  {
    title: 'R106 a list of nonces with ours in it',
    claims: (claims) => Object.assign(claims, { nonce: [claims.nonce, 'x'] }),
    reason: 'id_token_claim',
  },
  {
    title: 'R107 no subject (oidcc-client-test-missing-sub)',
    claims: (claims) => delete claims.sub,
    reason: malformedToken,
  },
  {
    title: 'R107 a subject that is a number',
    claims: (claims) => Object.assign(claims, { sub: 1 }),
    reason: malformedToken,
  },
  {
    title: 'R107 a subject that is null',
    claims: (claims) => Object.assign(claims, { sub: null }),
    reason: malformedToken,
  },
  {
    title: 'R107 a subject that is a list',
    claims: (claims) => Object.assign(claims, { sub: ['alice'] }),
    reason: malformedToken,
  },
  { title: 'R107 an empty subject', claims: (claims) => Object.assign(claims, { sub: '' }), reason: malformedToken },
  {
    title: 'R107 a subject of 256 characters',
    claims: (claims) => Object.assign(claims, { sub: 'a'.repeat(256) }),
    reason: malformedToken,
  },
  {
    title: 'R108 a sign-in older than max_age',
    query: '?max_age=60',
    claims: (claims) => Object.assign(claims, { auth_time: now() - 600 }),
    reason: 'id_token_time',
  },
  {
    title: 'R108 a sign-in that is not new although max_age is 0',
    query: '?max_age=0',
    claims: (claims) => Object.assign(claims, { auth_time: now() - 120 }),
    reason: 'id_token_time',
  },
  {
    title: 'R108 no auth_time although max_age was asked for',
    query: '?max_age=60',
    claims: (claims) => delete claims.auth_time,
    reason: malformedToken,
  },
  {
    title: 'R108 an auth_time that is text',
    query: '?max_age=60',
    claims: (claims) => Object.assign(claims, { auth_time: String(now()) }),
    reason: malformedToken,
  },
  {
    title: 'R108 a weaker authentication than acr_values asked for',
    query: '?acr_values=gold%20platinum',
    claims: (claims) => Object.assign(claims, { acr: 'bronze' }),
    reason: 'acr_not_satisfied',
  },
  { title: 'R108 no acr although acr_values was asked for', query: '?acr_values=gold', reason: 'acr_not_satisfied' },
  {
    title: 'R108 an acr that only contains what was asked for',
    query: '?acr_values=gold',
    claims: (claims) => Object.assign(claims, { acr: 'gold platinum' }),
    reason: 'acr_not_satisfied',
  },
  {
    title: 'R109 an at_hash of another access token',
    claims: (claims) => Object.assign(claims, { at_hash: atHash('another token') }),
    reason: 'id_token_claim',
  },
  {
    title: 'R109 an at_hash that is no string',
    claims: (claims) => Object.assign(claims, { at_hash: 1 }),
    reason: 'id_token_claim',
  },
]

const wrongHeaders: Row[] = [
  {
    title: 'R110 a critical header that nobody knows',
    header: { crit: ['exploit'], exploit: true },
    reason: badSignature,
  },
  { title: 'R110 an unencoded payload (b64)', header: { crit: ['b64'], b64: false }, reason: malformedToken },
  { title: 'R111 the type of an access token', header: { typ: 'at+jwt' }, reason: badSignature },
  { title: 'R111 the type of an access token, in full', header: { typ: 'application/at+jwt' }, reason: badSignature },
  { title: 'R111 the type of a logout token', header: { typ: 'logout+jwt' }, reason: badSignature },
  { title: 'R111 the type of a device-bound session', header: { typ: 'dbsc+jwt' }, reason: badSignature },
].map((row) => ({
  ...row,
  // The protocol library is stricter than jose would be while signing, so these are signed by hand.
  forged: (honest, as) => {
    const { header, claims } = readJwt(honest)
    return jwt({ ...header, ...row.header }, claims, rs256(KeyObject.from(as.signingKey())))
  },
}))

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const wrongSignatures: Row[] = [
  {
    title: 'R103 a signature with one byte changed (oidcc-client-test-invalid-sig-rs256)',
    forged: (honest) => `${honest.slice(0, -20)}${honest.at(-20) === 'A' ? 'B' : 'A'}${honest.slice(-19)}`,
    reason: badSignature,
  },
  {
    title: 'R103 claims that were changed after signing',
    forged: (honest) => {
      const [header, , signature] = honest.split('.')
      const { claims } = readJwt(honest)
      return `${header}.${Buffer.from(JSON.stringify({ ...claims, sub: 'mallory' })).toString('base64url')}.${signature}`
    },
    reason: badSignature,
  },
  ...['none', 'None', 'NONE', ''].map(
    (alg): Row => ({
      title: `R103 no signature, alg ${JSON.stringify(alg)} (oidcc-client-test-idtoken-sig-none)`,
      forged: (honest) => jwt({ alg }, readJwt(honest).claims, unsigned),
      reason: alg === '' ? malformedToken : refusedAlgorithm,
    }),
  ),
  {
    title: 'R103 no signature, alg still RS256',
    forged: (honest) => jwt(readJwt(honest).header, readJwt(honest).claims, unsigned),
    reason: badSignature,
  },
  {
    title: 'R103 HS256 with the public key as the secret',
    forged: (honest, as) => {
      const [key] = as.publicKeys
      const pem = createPublicKey({ key: key as never, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
      return jwt({ ...readJwt(honest).header, alg: 'HS256' }, readJwt(honest).claims, hs256(pem))
    },
    reason: refusedAlgorithm,
  },
  {
    title: 'R103 HS256 with the client secret (invalid-sig-hs256)',
    forged: (honest, as) => jwt({ alg: 'HS256' }, readJwt(honest).claims, hs256(as.clientSecret)),
    reason: refusedAlgorithm,
  },
  {
    title: 'R103 ES256 with a key of the attacker and the kid of the honest one',
    forged: (honest) => jwt({ ...readJwt(honest).header, alg: 'ES256' }, readJwt(honest).claims, es256(ec.privateKey)),
    reason: 'id_token_algorithm',
  },
  {
    title: 'R103 an algorithm that is good but was not announced (PS256)',
    forged: (honest) => jwt({ ...readJwt(honest).header, alg: 'PS256' }, readJwt(honest).claims, rs256(rsa.privateKey)),
    reason: 'id_token_algorithm',
  },
  {
    title: 'R103 RS256 with a key of the attacker and the kid of the honest one',
    forged: (honest) => jwt(readJwt(honest).header, readJwt(honest).claims, rs256(rsa.privateKey)),
    reason: badSignature,
  },
  {
    title: 'R103 RS256 with a key of the attacker and a kid that is a path',
    forged: (honest) => jwt({ alg: 'RS256', kid: '../../evil' }, readJwt(honest).claims, rs256(rsa.privateKey)),
    reason: 'id_token_key',
  },
  {
    title: 'R103 RS256 with a key of the attacker and a kid from the prototype',
    forged: (honest) => jwt({ alg: 'RS256', kid: '__proto__' }, readJwt(honest).claims, rs256(rsa.privateKey)),
    reason: 'id_token_key',
  },
]

const malformed: Row[] = [
  ...(['', 'x', 'a.b', 'a.b.c', '..', 'e30.e30.', 'a.b.c.d'] as const).map(
    (text): Row => ({
      title: `R112 not a token at all: ${JSON.stringify(text)}`,
      forged: () => text,
      reason: malformedToken,
    }),
  ),
  ...['null', '[]', '1', '"text"', '{', '{}'].map(
    (claims): Row => ({
      title: `R112 claims that are ${claims}`,
      forged: (honest, as) => jwt(readJwt(honest).header, claims, rs256(KeyObject.from(as.signingKey()))),
      reason: malformedToken,
    }),
  ),
  {
    title: 'R112 a header that is null',
    forged: (honest) => jwt('null', readJwt(honest).claims, unsigned),
    reason: malformedToken,
  },
  {
    title: 'R112 R113 an encrypted token that nobody asked for, five levels deep',
    forged: (honest) => {
      let inner = honest
      for (let level = 0; level < 5; level++) {
        const header = Buffer.from(JSON.stringify({ alg: 'RSA1_5', enc: 'A128CBC-HS256', cty: 'JWT', zip: 'DEF' }))
        inner = `${header.toString('base64url')}.AAAA.AAAA.${Buffer.from(inner).toString('base64url')}.AAAA`
      }
      return inner
    },
    reason: malformedToken,
  },
]

function atHash(accessToken: string): string {
  return createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url')
}

describe.each([
  ['whose claims are wrong', wrongClaims],
  ['whose header is wrong', wrongHeaders],
  ['whose signature is wrong', wrongSignatures],
  ['that is malformed', malformed],
])('an ID token %s signs nobody in', (_, rows) => {
  const world = faultWorld()

  test.each(rows)('$title', async ({ claims, forged, query = '', reason }) => {
    const { behaviour } = world.as
    if (claims) behaviour.idToken = (honest) => claims(honest, world.as)
    if (forged) behaviour.signedIdToken = (honest) => forged(honest, world.as)
    const browser = world.browser()
    const answer = await browser.signIn(query)
    await expectLoginRefused(world, browser, answer, reason)
  })
})

describe('an ID token that brings its own key', () => {
  const world = faultWorld()
  const headers = {
    jku: (evil: string) => ({ jku: `${evil}/jwks` }),
    x5u: (evil: string) => ({ x5u: `${evil}/cert` }),
    jwk: () => ({ jwk: rsa.publicKey.export({ format: 'jwk' }) }),
    x5c: () => ({ x5c: [rsa.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] }),
    'kid that is an address': (evil: string) => ({ kid: `${evil}/jwks` }),
  }

  test.each(Object.entries(headers))(
    'R110 in %s: the key is not used and its address not called',
    async (_, header) => {
      let calls = 0
      const evil = closeAfterTest(
        await listen((_, response) => {
          calls++
          response.setHeader('content-type', 'application/json')
          response.end(JSON.stringify({ keys: [rsa.publicKey.export({ format: 'jwk' })] }))
        }),
      )
      world.as.behaviour.signedIdToken = (honest) =>
        jwt({ alg: 'RS256', ...header(evil.url) }, readJwt(honest).claims, rs256(rsa.privateKey))
      const browser = world.browser()
      const answer = await browser.signIn()
      await expectLoginRefused(world, browser, answer, [badSignature, 'id_token_key'])
      expect(calls).toBe(0)
    },
  )
})

describe('an ID token of another occasion', () => {
  const world = faultWorld()

  test('R106 from an earlier sign-in of the same user signs nobody in', async () => {
    let earlier = ''
    world.as.behaviour.signedIdToken = (honest) => {
      earlier ||= honest
      return earlier
    }
    expect((await world.browser().signIn()).status).toBe(303)
    world.as.requests.length = 0
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, 'id_token_claim')
  })

  test('R111 an access token in its place signs nobody in', async () => {
    world.as.behaviour.tokenResponse = (response) => {
      response.id_token = response.access_token
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, malformedToken)
  })

  test('R111 a logout token in its place signs nobody in', async () => {
    world.as.behaviour.idToken = (claims) => {
      delete claims.nonce
      claims.events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, malformedToken)
  })

  test('R021 without any ID token nobody is signed in', async () => {
    world.as.behaviour.tokenResponse = (response) => {
      delete response.id_token
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, 'id_token_missing')
  })

  test.each([
    ['a list', ['x']],
    ['a number', 1],
    ['null', null],
    ['an object', { sub: 'mallory' }],
  ])('R112 %s in its place signs nobody in', async (_, value) => {
    world.as.behaviour.tokenResponse = (response) => {
      response.id_token = value
    }
    const browser = world.browser()
    const answer = await browser.signIn()
    await expectLoginRefused(world, browser, answer, 'id_token_missing')
  })
})

describe('an ID token that is right', () => {
  const world = faultWorld()

  test.each<[string, Pick<Row, 'claims' | 'forged' | 'query'>]>([
    ['R103 with RS256 (oidcc-client-test, -idtoken-sig-rs256)', {}],
    ['R101 with us alone in a list of audiences', { claims: (claims) => Object.assign(claims, { aud: [claims.aud] }) }],
    ['R102 with us as authorized party', { claims: (claims) => Object.assign(claims, { azp: claims.aud }) }],
    ['R104 that expired less than 25 seconds ago', { claims: (claims) => Object.assign(claims, { exp: now() - 25 }) }],
    ['R105 issued by a clock 25 seconds ahead', { claims: (claims) => Object.assign(claims, { iat: now() + 25 }) }],
    [
      'R108 with the authentication that acr_values asked for',
      { query: '?acr_values=gold%20platinum', claims: (claims) => Object.assign(claims, { acr: 'platinum' }) },
    ],
    [
      'R108 with a sign-in younger than max_age',
      { query: '?max_age=60', claims: (claims) => Object.assign(claims, { auth_time: now() - 30 }) },
    ],
    ['R111 with the type JWT', { forged: resigned({ typ: 'JWT' }) }],
    ['R115 without a kid where there is one key (-kid-absent-single-jwks)', { forged: resigned({ kid: undefined }) }],
  ])('%s signs in', async (_, { claims, forged, query = '' }) => {
    if (claims) world.as.behaviour.idToken = (honest) => claims(honest, world.as)
    if (forged) world.as.behaviour.signedIdToken = (honest) => forged(honest, world.as)
    const browser = world.browser()
    const answer = await browser.signIn(query)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
    expectNoCanary(world, browser)
  })

  test('R107 with a subject of 255 characters signs in', async () => {
    world.as.behaviour.user = { sub: 'a'.repeat(255) }
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().user.sub).toHaveLength(255)
  })

  test('R109 with the at_hash of its access token signs in', async () => {
    world.as.behaviour.tokenResponse = (response) => {
      const { header, claims } = readJwt(String(response.id_token))
      const at_hash = atHash(String(response.access_token))
      response.id_token = jwt(header, { ...claims, at_hash }, rs256(KeyObject.from(world.as.signingKey())))
    }
    const browser = world.browser()
    await browser.signIn()
    expect((await browser.fetch('/auth/session')).json().authenticated).toBe(true)
  })
})

/** The honest token with another header, signed by the honest key. */
function resigned(header: Claims): NonNullable<Row['forged']> {
  return (honest, as) => {
    const token = readJwt(honest)
    return jwt({ ...token.header, ...header }, token.claims, rs256(KeyObject.from(as.signingKey())))
  }
}
