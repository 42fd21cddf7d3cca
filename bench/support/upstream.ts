// The API behind every contestant: an nginx that answers 1 KB of JSON, tells which headers came, and counts.
import { chmod, mkdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { get } from './browser.ts'
import { freePort, type StartedProcess, startServer } from './processes.ts'

export interface Upstream {
  readonly url: string
  /** Body of the answer at `/data`. */
  readonly data: string
  /** How many requests it answered so far, this question not among them. */
  answered(): Promise<number>
}

/** Bytes of the large answer at `/big`. */
export const bigBytes = 268_435_456

/** 1,023 bytes, like an ordinary small answer of an API. */
const data = JSON.stringify({
  orders: Array.from({ length: 9 }, (_, index) => ({
    id: 1_000 + index,
    item: `Winter coat no. ${index}`,
    state: 'checked in',
    price: 49.9,
    counter: 'north',
    tag: `T-${index}`,
  })),
})

const padded = data.replace(/]}$/, `],"note":"${'.'.repeat(1_023 - data.length - ',"note":""'.length)}"}`)

export async function startUpstream(dir: string): Promise<Upstream> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const big = join(dir, 'big')
  await writeFile(big, '')
  await truncate(big, bigBytes)
  // The workers of nginx are nobody.
  await chmod(dir, 0o711)
  await startNginx(
    join(dir, 'upstream'),
    port,
    `server {
      listen 127.0.0.1:${port} backlog=1024;
      location = /data { default_type application/json; return 200 '${padded}'; }
      location = /headers { default_type text/plain; return 200 "$http_authorization\\n$http_cookie\\n"; }
      location = /big { default_type application/octet-stream; alias ${big}; }
      location = /count { stub_status; }
    }`,
  )
  let questions = 0
  return {
    url,
    data: padded,
    async answered() {
      const { body } = await get(new URL('/count', url), {})
      const requests = /^\s*\d+ \d+ (\d+)\s*$/m.exec(body)?.[1]
      return Number(requests) - ++questions
    },
  }
}

/**
 * An nginx with one worker, no log, and connections that stay open.
 * @param servers what stands in its `http` block
 */
export async function startNginx(dir: string, port: number, servers: string, core?: string): Promise<StartedProcess> {
  await mkdir(dir, { recursive: true })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const file = join(dir, 'nginx.conf')
  await writeFile(
    file,
    `daemon off;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log warn;
worker_processes 1;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  ${temporary.map((name) => `${name}_temp_path ${dir}/${name};`).join('\n  ')}
  ${servers}
}
`,
  )
  return startServer(['nginx', '-p', dir, '-c', file, '-e', join(dir, 'error.log')], { port, core })
}
