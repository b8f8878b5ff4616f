// @modelcontextprotocol/sdk 1.x across a kill -9.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { LoggingMessageNotificationSchema, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { restartTest } from './restart.mjs';

restartTest({
  Transport: StreamableHTTPClientTransport,
  client(name, onUpdate, onLog) {
    const client = new Client({ name, version: '1.0.0' });
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, (n) => onUpdate(n.params.uri));
    client.setNotificationHandler(LoggingMessageNotificationSchema, (n) => onLog(n.params.level));
    return client;
  },
  callTool: (client, params, options) => client.callTool(params, undefined, options),
});
