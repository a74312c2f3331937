#!/usr/bin/env node
const net = require('net')
const { parseArgs } = require('util')
const options = {
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '7000' },
  backlog: { type: 'string', default: '4096' },
  verbose: { type: 'boolean' }
}
const { host, port, backlog } = parseArgs({ options }).values
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0))
const server = net.createServer({ allowHalfOpen: true }, client => {
  client.on('error', () => {})
  client.pipe(client) // pauses reading while the client does not read, and passes the FIN on
})
server.listen({ host, port: +port, backlog: +backlog }, () => {
  const at = server.address()
  console.log(`listening on ${at.family === 'IPv6' ? `[${at.address}]` : at.address}:${at.port}`)
})
