// The usual choice on Node: Express with Auth0's express-openid-connect and http-proxy-middleware.
import { randomBytes } from 'node:crypto'
import { scope } from '../support/authorization-server.ts'
import { nodeServer } from '../support/node-server.ts'
import type { Contestant } from './contestant.ts'

export const expressOpenidConnect: Contestant = {
  name: 'express-openid-connect',
  what: 'with http-proxy-middleware and a keep-alive agent; its cookie session, default settings',
  callbackPath: '/callback',
  async start(setting) {
    const started = await nodeServer('express-openid-connect', setting, {
      upstream: setting.upstream.url,
      baseUrl: setting.url,
      issuer: setting.authorizationServer.issuer,
      clientId: setting.client.id,
      clientSecret: setting.client.secret,
      secret: randomBytes(32).toString('base64url'),
      scope,
    })
    return { ...started, signInUrl: `${setting.url}/login` }
  },
}
