// Express with express-openid-connect and http-proxy-middleware, put together as their documentation shows.
import { Agent, type ClientRequest, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import { createProxyMiddleware } from 'http-proxy-middleware'
import { settings } from '../support/node-server.ts'

/** Express publishes no types, and express-openid-connect's need them; this is what is used of both. */
interface Express {
  use(...handlers: unknown[]): void
  listen(port: number, host: string): void
}
const require = createRequire(import.meta.url)
const express = require('express') as () => Express
const { auth, requiresAuth } = require('express-openid-connect') as Record<
  'auth' | 'requiresAuth',
  (options?: object) => unknown
>
type SignedInRequest = IncomingMessage & { oidc: { accessToken: { access_token: string } } }

const { port, upstream, baseUrl, issuer, clientId, clientSecret, secret, scope } = settings<
  'upstream' | 'baseUrl' | 'issuer' | 'clientId' | 'clientSecret' | 'secret' | 'scope'
>()

const app = express()
app.use(
  auth({
    issuerBaseURL: issuer,
    baseURL: baseUrl,
    clientID: clientId,
    clientSecret,
    clientAuthMethod: 'client_secret_basic',
    secret,
    authRequired: false,
    authorizationParams: { response_type: 'code', scope },
  }),
)
app.use(
  '/api',
  requiresAuth(),
  createProxyMiddleware<SignedInRequest>({
    target: upstream,
    changeOrigin: true,
    agent: new Agent({ keepAlive: true }),
    on: {
      proxyReq(outbound: ClientRequest, request) {
        outbound.removeHeader('cookie')
        outbound.setHeader('authorization', `Bearer ${request.oidc.accessToken.access_token}`)
      },
    },
  }),
)
app.listen(port, '127.0.0.1')
