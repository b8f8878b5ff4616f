// @modelcontextprotocol/client 2.x across a kill -9, in the era that has sessions.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { restartTest } from './restart.mjs';

restartTest({
  Transport: StreamableHTTPClientTransport,
  client(name, onUpdate, onLog) {
    const client = new Client({ name, version: '1.0.0' }, { versionNegotiation: { mode: 'legacy' } });
    client.setNotificationHandler('notifications/resources/updated', (n) => onUpdate(n.params.uri));
    client.setNotificationHandler('notifications/message', (n) => onLog(n.params.level));
    return client;
  },
  callTool: (client, params, options) => client.callTool(params, options),
});
