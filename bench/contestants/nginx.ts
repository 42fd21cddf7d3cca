// nginx with `proxy_pass` and a fixed token: the limit of what a proxy can do, with nothing of a token handler in it.
import { startNginx } from '../support/upstream.ts'
import type { Contestant } from './contestant.ts'

export const nginx: Contestant = {
  name: 'nginx',
  what: '`proxy_pass`, fixed token, no sessions: the limit',
  packages: { nginx: '/usr/sbin/nginx' },
  async start({ dir, port, core, upstream, accessToken }) {
    const servers = `upstream api { server ${new URL(upstream.url).host}; keepalive 64; }
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location /api/ {
      proxy_pass http://api/;
      proxy_http_version 1.1;
      proxy_max_temp_file_size 0;
      proxy_set_header Connection "";
      proxy_set_header Cookie "";
      proxy_set_header Authorization "Bearer ${accessToken}";
    }
  }`
    return startNginx(dir, port, servers, core)
  },
}
