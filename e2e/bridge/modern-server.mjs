// A server of @modelcontextprotocol/server 2.x that speaks 2026-07-28 and nothing else,
// with the tools that the matrix of bridge_test.go calls. It prints its URL.
import http from 'node:http';
import { createMcpHandler, fromJsonSchema, inputRequired, McpServer } from '@modelcontextprotocol/server';

const kitchen = { baking: 0, done: 0, stopped: 0 };
let board = '';
let shown = false;

const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
const schema = (properties, required = []) => fromJsonSchema({ type: 'object', properties, required });
const number = { type: 'number' };
const string = { type: 'string' };

function make() {
  const server = new McpServer({ name: 'ts-modern', version: '1.0.0' }, {
    capabilities: { logging: {}, tools: { listChanged: true }, resources: { listChanged: true, subscribe: true } },
  });
  server.registerTool('add', { inputSchema: schema({ a: number, b: number }, ['a', 'b']) }, ({ a, b }) => text(a + b));
  server.registerTool('report', {}, () => text('x'.repeat(1 << 20)));
  server.registerTool('weather', {
    inputSchema: schema({ region: { ...string, 'x-mcp-header': 'Region' }, city: string }, ['region', 'city']),
  }, ({ region, city }) => text(`It is dry in ${city} (${region}).`));

  const table = { type: 'object', properties: { day: string, people: { type: 'integer' }, outside: { type: 'boolean' } } };
  server.registerTool('book_table', { inputSchema: schema({ restaurant: string }, ['restaurant']) }, ({ restaurant }, ctx) => {
    const answers = ctx.mcpReq.inputResponses ?? {};
    const ask = (key, message, requestedSchema, state) => inputRequired({
      inputRequests: { [key]: inputRequired.elicit({ message, requestedSchema }) }, requestState: state,
    });
    if (ctx.mcpReq.requestState() === undefined) return ask('details', `A table at ${restaurant}: when?`, table, 'asked');
    if (answers.details) {
      const c = answers.details.content;
      return ask('sure', `Really ${c.people} people?`, { type: 'object', properties: {} }, JSON.stringify(c));
    }
    if (answers.sure?.action !== 'accept') return text('Not booked.');
    const c = JSON.parse(ctx.mcpReq.requestState());
    return text(`Booked at ${restaurant}: ${c.day}, ${c.people} people, ${c.outside ? 'outside' : 'inside'}.`);
  });
  server.registerTool('haiku', { inputSchema: schema({ topic: string }) }, ({ topic }, ctx) => {
    const answer = ctx.mcpReq.inputResponses?.poem;
    if (!answer) {
      return inputRequired({ inputRequests: { poem: inputRequired.createMessage({
        maxTokens: 100, messages: [{ role: 'user', content: { type: 'text', text: `Write a haiku about ${topic}.` } }],
      }) } });
    }
    return text(`${answer.content.text}\n\n(by ${answer.model})`);
  });
  server.registerTool('roots', {}, (args, ctx) => {
    const answer = (ctx ?? args).mcpReq.inputResponses?.roots;
    // go-sdk 1.8's client cannot read a roots/list without params, with or without a bridge.
    if (!answer) return inputRequired({ inputRequests: { roots: { ...inputRequired.listRoots(), params: {} } } });
    return text(answer.roots.map((r) => r.uri).join());
  });
  server.registerTool('bake', { inputSchema: schema({ steps: number, milliseconds: number }) }, async ({ steps, milliseconds }, ctx) => {
    kitchen.baking++;
    const token = ctx.mcpReq._meta?.progressToken;
    for (let step = 1; step <= steps; step++) {
      await new Promise((r) => setTimeout(r, milliseconds));
      if (ctx.mcpReq.signal.aborted) {
        kitchen.baking--; kitchen.stopped++;
        throw new Error('taken out');
      }
      if (token !== undefined) {
        await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken: token, progress: step, total: steps } });
      }
    }
    kitchen.baking--; kitchen.done++;
    return text(`The cake is done, after ${steps} steps.`);
  });
  server.registerTool('post_note', { inputSchema: schema({ note: string }) }, ({ note }) => {
    board = note;
    handler.notify.resourceUpdated('demo://board');
    return text('pinned');
  });
  server.registerTool('surprise', { inputSchema: schema({ shown: { type: 'boolean' } }) }, (args) => {
    shown = args.shown;
    handler.notify.toolsChanged();
    return text(shown);
  });
  if (shown) server.registerTool('open_box', {}, () => text('A smaller box.'));
  const read = (uri, value) => server.registerResource(uri, uri, {}, () => ({ contents: [{ uri, text: value() }] }));
  read('demo://board', () => board);
  read('demo://kitchen', () => JSON.stringify(kitchen));
  return server;
}

const handler = createMcpHandler(make, { legacy: 'reject' });

http.createServer(async (req, res) => {
  try {
    const body = [];
    for await (const chunk of req) body.push(chunk);
    const gone = new AbortController();
    res.on('close', () => gone.abort());
    const answer = await handler.fetch(new Request(`http://${req.headers.host}${req.url}`, {
      method: req.method, headers: req.headers, signal: gone.signal,
      body: req.method === 'POST' ? Buffer.concat(body) : undefined,
    }));
    res.writeHead(answer.status, Object.fromEntries(answer.headers));
    if (answer.body) {
      const reader = answer.body.getReader();
      res.on('close', () => reader.cancel().catch(() => {}));
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        res.write(value);
      }
    }
    res.end();
  } catch (e) {
    console.error(e);
    if (!res.headersSent) res.writeHead(500);
    res.end();
  }
}).listen(0, '127.0.0.1', function () {
  console.log(`http://127.0.0.1:${this.address().port}/mcp`);
});
process.stdin.on('end', () => process.exit(0)).resume(); // the test is over
