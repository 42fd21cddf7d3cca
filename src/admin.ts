// The operator's own listener: metrics, for those who have the token. Node only, and never on the public port.
import { timingSafeEqual } from 'node:crypto'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { Counter, collectDefaultMetrics, Registry } from 'prom-client'
import { problemResponse } from './answers.ts'
import type { Config } from './config.ts'
import type { Log } from './observability.ts'

export interface Metrics {
  /** Counts events; put it beside the log. */
  readonly count: Log
  /** All metrics in the Prometheus text format. */
  text(): Promise<string>
  readonly contentType: string
}

/** Metrics derived from log events, and nothing else: what is counted is what is told. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const events = new Counter({
    name: 'coatcheck_events_total',
    help: 'Events by name, and by reason where they have one',
    labelNames: ['event', 'reason'],
    registers: [registry],
  })
  return {
    count: (event) => events.inc({ event: event.event, reason: ('reason' in event && event.reason) || '' }),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

/** A server that answers `GET /metrics` to whoever brings the bearer token. */
export function createAdminServer({ token }: NonNullable<Config['admin']>, metrics: Metrics) {
  const app = new Hono()
  app.use(async (c, next) => {
    const [, given = ''] = /^bearer +(.*)$/i.exec(c.req.header('authorization') ?? '') ?? []
    // RFC 6750, section 3: without a token the challenge says no more than what is asked for.
    const challenge = given === '' ? 'Bearer' : 'Bearer error="invalid_token"'
    if (!isSame(given, token)) return problemResponse('invalid_token', { challenge })
    await next()
    return undefined
  })
  app.get('/metrics', async (c) => c.body(await metrics.text(), 200, { 'content-type': metrics.contentType }))
  app.all('*', () => problemResponse('not_found'))
  return createAdaptorServer({ fetch: app.fetch })
}

function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
