/* global SockJS, showFrame */
'use strict';

// The line: the ways to the gateway that the SDK can take. Each is the browser's own (or SockJS), watched, so that the page can
// show what passes, and can hold it down. Knows nothing of channels.

const line = {
  downUntil: 0,
  /** What is open now: functions that cut it. */
  open: new Set(),

  get isDown() {
    return performance.now() < this.downUntil;
  },

  hold(milliseconds) {
    this.downUntil = performance.now() + milliseconds;
    for (const cut of [...this.open]) cut();
  },
};

const WAYS = {
  automatic: ['websocket', 'http_stream', 'sse'],
  websocket: ['websocket'],
  http_stream: ['http_stream'],
  sse: ['sse'],
  sockjs: ['sockjs'],
};

/** Where the SDK finds the gateway on this way. */
function endpoints(way) {
  const secure = location.protocol === 'https:';
  return WAYS[way].map((transport) => {
    const scheme = transport === 'websocket' ? (secure ? 'wss:' : 'ws:') : location.protocol;
    return { transport, endpoint: `${scheme}//${location.host}/connection/${transport}` };
  });
}

/** The options of the SDK that make it use what is watched here. */
function watched() {
  return {
    emulationEndpoint: `${location.origin}/emulation`,
    websocket: WatchedSocket,
    eventsource: WatchedEvents,
    fetch: watchedFetch,
    sockjs: WatchedSockJs,
    // A WebSocket inside SockJS would show nothing that the WebSocket does not.
    sockjsOptions: { transports: ['xhr-streaming', 'xhr-polling'] },
  };
}

class WatchedSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    const cut = () => this.close();
    line.open.add(cut);
    this.addEventListener('open', () => showFrame('note', 'socket open'));
    this.addEventListener('message', (event) => showFrame('in', event.data));
    this.addEventListener('close', (event) => {
      line.open.delete(cut);
      showFrame('note', `socket closed (${event.code}${event.reason ? ` ${event.reason}` : ''})`);
    });
    if (line.isDown) cut();
  }

  send(data) {
    showFrame('out', data);
    super.send(data);
  }
}

class WatchedEvents extends EventSource {
  constructor(url, options) {
    super(url, options);
    const cut = () => this.dispatchEvent(new Event('error'));
    line.open.add(cut);
    this.cut = cut;
    showFrame('out', new URL(url).searchParams.get('cf_connect'));
    this.addEventListener('open', () => showFrame('note', 'event stream open'));
    this.addEventListener('message', (event) => showFrame('in', event.data));
    if (line.isDown) setTimeout(cut);
  }

  close() {
    line.open.delete(this.cut);
    super.close();
  }
}

async function watchedFetch(url, options) {
  if (line.isDown) throw new TypeError('the line is down');
  const isBack = String(url).endsWith('/emulation');
  showFrame('out', isBack ? JSON.parse(options.body).data : options.body);
  const ending = new AbortController();
  const cut = () => ending.abort();
  const signal = AbortSignal.any([options.signal, ending.signal]);
  line.open.add(cut);
  signal.addEventListener('abort', () => line.open.delete(cut));
  try {
    const response = await fetch(url, { ...options, signal });
    if (isBack || !response.ok) {
      line.open.delete(cut);
      return response;
    }
    showFrame('note', 'stream open');
    const [shown, handedOn] = response.body.tee();
    showLines(shown).finally(() => line.open.delete(cut));
    return new Response(handedOn, { status: response.status, headers: response.headers });
  } catch (error) {
    line.open.delete(cut);
    throw error;
  }
}

async function showLines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const text of lines) showFrame('in', text);
    }
    showFrame('note', 'stream ended');
  } catch {
    showFrame('note', 'stream broken');
  }
}

function WatchedSockJs(url, reserved, options) {
  const socket = new SockJS(url, reserved, options);
  const cut = () => socket.close();
  const send = socket.send.bind(socket);
  line.open.add(cut);
  socket.send = (data) => {
    showFrame('out', data);
    return send(data);
  };
  socket.addEventListener('open', () => showFrame('note', `SockJS open (${socket.transport})`));
  socket.addEventListener('message', (event) => showFrame('in', event.data));
  socket.addEventListener('close', (event) => {
    line.open.delete(cut);
    showFrame('note', `SockJS closed (${event.code}${event.reason ? ` ${event.reason}` : ''})`);
  });
  if (line.isDown) setTimeout(cut);
  return socket;
}
