// @modelcontextprotocol/ext-tasks 0.2: the requester's side of the Tasks extension, on
// top of @modelcontextprotocol/client, as hosts use it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { createTaskSessionFromClient, resultFromTaskOutcome } from '@modelcontextprotocol/ext-tasks/client';
import { eventually, kitchen, mcpURL, textOf } from './lib.mjs';

const version = '2026-07-28';
const info = { name: 'e2e-tasks', version: '1.0.0' };
const capabilities = { extensions: { 'io.modelcontextprotocol/tasks': {} } };

/** The extension's own requests are not in the client's vocabulary: the host sends them. */
async function dispatch(sent, request, { signal, context } = {}) {
  const message = { jsonrpc: '2.0', id: `raw-${sent.length}`, ...request };
  const name = message.params?.taskId ?? message.params?.name;
  const headers = new Headers({
    'content-type': 'application/json', accept: 'application/json, text/event-stream',
    'mcp-protocol-version': version, 'mcp-method': message.method, ...(name ? { 'mcp-name': name } : {}),
  });
  for (const [key, value] of Object.entries(context?.headers ?? {})) headers.set(key, value);
  const response = await fetch(mcpURL(), { method: 'POST', signal, headers, body: JSON.stringify(message) });
  const text = await response.text();
  const answer = response.headers.get('content-type').startsWith('text/event-stream')
    ? text.split('\n').filter((l) => l.startsWith('data: ')).map((l) => JSON.parse(l.slice(6))).find((m) => m.id === message.id)
    : JSON.parse(text);
  sent.push({ method: message.method, status: response.status, answer });
  return answer.error ? { kind: 'error', error: answer.error } : { kind: 'result', result: answer.result };
}

async function connect() {
  const client = new Client(info, { capabilities, versionNegotiation: { mode: { pin: version } } });
  await client.connect(new StreamableHTTPClientTransport(mcpURL()));
  const sent = [];
  const session = createTaskSessionFromClient(client, {
    endpointId: 'e2e',
    rawDispatch: (request, options) => dispatch(sent, request, options),
    v2RequestFraming: { protocolVersion: version, clientInfo: info, clientCapabilities: capabilities },
  });
  return { client, session, sent };
}

test('a call becomes a task, and its result is fetched', async () => {
  const { client, session, sent } = await connect();
  const execution = await session.callTool('roast', { seconds: 0.3 });
  assert.equal(execution.kind, 'task');
  const { outcome } = await execution.settle();
  assert.equal(textOf(resultFromTaskOutcome(outcome)), 'The duck is done.');
  const created = sent.find((s) => s.method === 'tools/call').answer.result;
  assert.equal(created.resultType, 'task');
  assert.equal(created.status, 'working');
  assert.ok(created.taskId.length >= 26, 'an id nobody can guess');
  assert.ok(sent.some((s) => s.method === 'tasks/get'));
  await session.close();
  await client.close();
});

test('an ordinary tool is answered at once', async () => {
  const { client, session } = await connect();
  const execution = await session.callTool('add', { a: 2, b: 40 });
  assert.equal(execution.kind, 'immediate');
  const { outcome } = await execution.settle();
  assert.equal(textOf(resultFromTaskOutcome(outcome)), '42');
  await session.close();
  await client.close();
});

test('a cancelled task stops, and stays cancelled', async () => {
  const { client, session, sent } = await connect();
  const before = await kitchen(client);
  const execution = await session.callTool('roast', { seconds: 300 });
  const settled = execution.settle().catch((e) => e);
  await execution.cancel();
  await settled;
  await eventually(async () => (await kitchen(client)).stopped === before.stopped + 1);
  const { taskId } = sent.find((s) => s.method === 'tools/call').answer.result;
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': version, 'io.modelcontextprotocol/clientInfo': info,
    'io.modelcontextprotocol/clientCapabilities': capabilities,
  };
  const state = await dispatch(sent, { method: 'tasks/get', params: { taskId, _meta } });
  assert.equal(state.result.status, 'cancelled');
  const unknown = await dispatch(sent, { method: 'tasks/get', params: { taskId: 'A'.repeat(26), _meta } });
  assert.equal(unknown.error.code, -32602);
  await session.close();
  await client.close();
});

test('a client that does not declare the extension waits for the result', async () => {
  const client = new Client(info, { versionNegotiation: { mode: { pin: version } } });
  await client.connect(new StreamableHTTPClientTransport(mcpURL()));
  assert.equal(textOf(await client.callTool({ name: 'roast', arguments: { seconds: 0.1 } })), 'The duck is done.');
  await client.close();
});
