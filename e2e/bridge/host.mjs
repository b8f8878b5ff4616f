// A host written with @modelcontextprotocol/sdk 1.x: starts the command it is given as a
// stdio server, tries every feature and prints what came of each as JSON.
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import {
  CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema,
  ResourceUpdatedNotificationSchema, ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

const [command, ...args] = process.argv.slice(2);
const transport = new StdioClientTransport({ command, args, env: process.env, stderr: 'inherit' });
const client = new Client({ name: 'e2e-bridge-ts', version: '1.0.0' }, {
  capabilities: { elicitation: { form: {} }, sampling: {}, roots: { listChanged: true } },
});
const asked = [];
const arrived = { updated: 0, changed: 0 };
client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
  asked.push(params.message);
  if (params.message.startsWith('Really')) return { action: 'accept', content: {} };
  return { action: 'accept', content: { day: '2026-12-24', people: 9, outside: true } };
});
client.setRequestHandler(CreateMessageRequestSchema, () => ({
  model: 'e2e-model', role: 'assistant', content: { type: 'text', text: 'rain on the causeway' },
}));
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///src', name: 'source' }] }));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => { if (params.uri === 'demo://board') arrived.updated++; });
client.setNotificationHandler(ToolListChangedNotificationSchema, () => { arrived.changed++; });

const call = async (name, args = {}, options) => {
  const r = await client.callTool({ name, arguments: args }, undefined, options);
  const text = r.content.filter((c) => c.type === 'text').map((c) => c.text).join('');
  assert.ok(!r.isError, text);
  return text;
};
const kitchen = async () => JSON.parse((await client.readResource({ uri: 'demo://kitchen' })).contents[0].text);
const eventually = async (probe) => {
  for (let i = 0; i < 500; i++) {
    if (await probe()) return;
    await new Promise((r) => setTimeout(r, 20));
  }
  assert.fail('waited in vain');
};

const features = {
  tools: async () => {
    const { tools } = await client.listTools();
    assert.ok(tools.some((t) => t.name === 'bake'));
    assert.equal(await call('add', { a: 2, b: 40 }), '42');
  },
  elicitation: async () => {
    assert.equal(await call('book_table', { restaurant: 'Da Nino' }), 'Booked at Da Nino: 2026-12-24, 9 people, outside.');
    assert.equal(asked.length, 2);
    assert.match(asked[1], /^Really 9/);
  },
  sampling: async () => {
    assert.equal(await call('haiku', { topic: 'rain' }), 'rain on the causeway\n\n(by e2e-model)');
    assert.match(await call('roots'), /file:\/\/\/src/);
  },
  progress: async () => {
    const steps = [];
    assert.equal(await call('bake', { steps: 5, milliseconds: 20 }, { onprogress: (p) => steps.push(p.progress) }), 'The cake is done, after 5 steps.');
    // The SDK forgets the handler with the result; the last step may come with it.
    assert.deepEqual(steps.slice(0, 4), [1, 2, 3, 4]);
  },
  cancel: async () => {
    const before = await kitchen();
    const abort = new AbortController();
    await assert.rejects(call('bake', { steps: 100, milliseconds: 100 }, { signal: abort.signal, onprogress: () => abort.abort() }));
    await eventually(async () => (await kitchen()).stopped > before.stopped);
    assert.equal((await kitchen()).done, before.done);
  },
  subscriptions: async () => {
    await client.subscribeResource({ uri: 'demo://board' });
    const before = arrived.updated;
    await call('post_note', { note: 'from TypeScript' });
    await eventually(() => arrived.updated > before);
    await client.unsubscribeResource({ uri: 'demo://board' });
  },
  'x-mcp-header tool': async () => {
    for (const region of ['eu', 'us']) assert.match(await call('weather', { region, city: 'Zürich' }), new RegExp(`in Zürich \\(${region}\\)`));
  },
  '1 MiB results': async () => { assert.equal((await call('report')).length, 1 << 20); },
  'list change': async () => {
    const before = arrived.changed;
    await call('surprise', { shown: true });
    await eventually(() => arrived.changed > before);
    assert.equal(await call('open_box'), 'A smaller box.');
    await call('surprise', { shown: false });
  },
};

const report = {};
await client.connect(transport);
for (const [name, run] of Object.entries(features)) {
  try {
    await run();
    report[name] = 'ok';
  } catch (e) {
    report[name] = String(e.stack ?? e);
  }
}
await client.close();
console.log(JSON.stringify(report));
