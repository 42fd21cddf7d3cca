// A forwarder with the helper that comes with Hono, as its documentation shows it.
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { proxy } from 'hono/proxy'
import { settings } from '../support/node-server.ts'

const { port, upstream, accessToken } = settings<'upstream' | 'accessToken'>()

const app = new Hono()
app.all('/api/*', (c) =>
  proxy(`${upstream}${c.req.path.slice('/api'.length)}${new URL(c.req.url).search}`, {
    ...c.req,
    headers: { ...c.req.header(), cookie: undefined, authorization: `Bearer ${accessToken}` },
  }),
)

serve({ fetch: app.fetch, port, hostname: '127.0.0.1' })
