// A hundred clients with open streams, subscriptions, a log level and state; the server is
// killed with -9 and started again. Every one goes on with its session, hears what it
// missed, and none of its calls hangs.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Arrivals, eventually, textOf } from './lib.mjs';

const program = process.env.CAUSEWAY_TEST_PROGRAM;
assert.ok(program, 'CAUSEWAY_TEST_PROGRAM is set by the Go test that runs this');
const sessions = 100;

/** A demo on disk that can be killed and started again at the same address. */
class Server {
  constructor(data) { this.data = data; this.addr = '127.0.0.1:0'; }
  async start() {
    this.child = spawn(program, ['demo', '-no-auth', '-addr', this.addr, '-data', this.data], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.log = '';
    let out = '';
    this.child.stderr.on('data', (d) => { this.log += d; });
    this.child.stdout.on('data', (d) => { out += d; });
    await eventually(() => {
      assert.equal(this.child.exitCode, null, `the demo ended: ${this.log}`);
      return out.includes('Ctrl-C ends it.');
    });
    this.addr = /http:\/\/(127\.0\.0\.1:[0-9]+)/.exec(out)[1];
    this.url = new URL(`http://${this.addr}/mcp`);
  }
  async end(signal) {
    const ended = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve({ code, signal })));
    this.child.kill(signal);
    return ended;
  }
}

/** What a session sees of the world. errors are those that its user would see. */
async function open(server, i, { Transport, client }) {
  const s = { i, updates: new Arrivals(), logs: new Arrivals(), errors: [], gets: new Arrivals(), statuses: [] };
  s.client = client('e2e-restart', (uri) => s.updates.push(uri), (level) => s.logs.push(level));
  s.transport = new Transport(server.url, {
    // The server is away for a while; the SDK's own default gives up after two tries.
    reconnectionOptions: { initialReconnectionDelay: 100, maxReconnectionDelay: 500, reconnectionDelayGrowFactor: 1.5, maxRetries: 100 },
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      s.statuses.push(response.status);
      if (init?.method === 'GET') s.gets.push({ status: response.status, lastEventID: new Headers(init.headers).get('last-event-id') });
      return response;
    },
  });
  s.client.onerror = (e) => s.errors.push(e);
  await s.client.connect(s.transport);
  assert.equal((await s.gets.next()).status, 200);
  await s.client.subscribeResource({ uri: 'demo://board' });
  await s.client.setLoggingLevel('error');
  s.id = s.transport.sessionId;
  s.counter = async (by) => (await s.client.callTool({ name: 'count', arguments: { by } })).structuredContent.value;
  s.start = await s.counter(0);
  assert.equal(await s.counter(i), s.start + i);
  return s;
}

// What the SDK says of a connection that broke; it reconnects by itself.
const reconnecting = /SSE stream disconnected|Failed to (re)?connect|Failed to open SSE|fetch failed|terminated|ECONNREFUSED|ECONNRESET|other side closed/;

/**
 * sdk is how one SDK does it: its Transport, client(name, onUpdate, onLog), and
 * callTool(client, params, options), which differ between the two.
 */
export const restartTest = (sdk) => test(`${sessions} sessions go on after kill -9`, { timeout: 55_000 }, async () => {
  const data = await mkdtemp(join(tmpdir(), 'causeway-restart-'));
  const server = new Server(data);
  await server.start();
  const all = [];
  for (let i = 1; i <= sessions; i += 10) {
    all.push(...await Promise.all(Array.from({ length: 10 }, (_, n) => open(server, i + n, sdk))));
  }
  assert.equal(new Set(all.map((s) => s.id)).size, sessions);
  await all[0].client.callTool({ name: 'post_note', arguments: { note: 'before the end' } });
  for (const s of all) assert.equal(await s.updates.next(), 'demo://board');

  // A quarter of them wait for something that takes longer than the server lives; their
  // streams have begun, since there was progress.
  const inFlight = all.filter((s) => s.i % 4 === 0).map((s) => {
    const call = { s, begun: undefined };
    const begun = new Promise((resolve) => { call.begun = resolve; });
    call.outcome = sdk.callTool(s.client, { name: 'bake', arguments: { steps: 100, milliseconds: 100 } }, { onprogress: call.begun, timeout: 45_000 })
      .then((r) => ({ answer: textOf(r) }), (error) => ({ error }));
    return { ...call, begun };
  });
  await Promise.all(inFlight.map((c) => c.begun));

  const died = await server.end('SIGKILL');
  assert.equal(died.signal, 'SIGKILL');
  await server.start();
  // Happens while nobody is back yet: only who is remembered as subscribed can be told.
  const stranger = sdk.client('e2e-stranger', () => {}, () => {});
  const strangersTransport = new sdk.Transport(server.url);
  await stranger.connect(strangersTransport);
  await stranger.callTool({ name: 'post_note', arguments: { note: 'right after the start' } });

  for (const s of all) {
    const back = await s.gets.find((g) => g.status === 200);
    assert.ok(back.lastEventID, `session ${s.i} resumed with Last-Event-ID`);
    assert.equal(await s.updates.next(), 'demo://board', `session ${s.i} hears what it missed`);
  }
  for (const c of inFlight) {
    const { answer, error } = await c.outcome;
    assert.ok(answer || /outcome/i.test(error.message), `a call in flight ended in ${answer ?? error}`);
  }
  for (const s of all) {
    assert.equal(s.transport.sessionId, s.id);
    assert.equal(await s.counter(1), s.start + s.i + 1, `session ${s.i} has its own state`);
    assert.ok((await s.client.listTools()).tools.length > 5);
    await s.client.callTool({ name: 'say', arguments: { level: 'warning', text: 'not to be heard' } });
    await s.client.callTool({ name: 'say', arguments: { level: 'error', text: 'to be heard' } });
    assert.equal(await s.logs.next(), 'error', 'the log level is the one that was set before');
    assert.ok(!s.statuses.includes(404), 'no session was lost');
    for (const e of s.errors) assert.match(String(e.message) + String(e.cause ?? ''), reconnecting, `session ${s.i} was told of more than a lost connection`);
  }
  await all[0].client.callTool({ name: 'post_note', arguments: { note: 'all are back' } });
  for (const s of all) assert.equal(await s.updates.next(), 'demo://board', `session ${s.i} is still subscribed`);
  assert.ok(all.every((s) => s.updates.length === 0), 'each notification came once');

  for (const s of [...all, { client: stranger, transport: strangersTransport }]) {
    await s.transport.terminateSession();
    await s.client.close();
  }
  const ended = await server.end('SIGTERM');
  assert.equal(ended.code, 0, server.log);
  assert.doesNotMatch(server.log, /DATA RACE|panic/);
  await rm(data, { recursive: true, force: true });
});
