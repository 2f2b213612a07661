// The search of this site runs in a worker, which browsers refuse to pages that are opened from files. There its script
// runs in a hidden frame instead, with messages to and fro as a worker has them.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    onmessage = null;

    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      inside.importScripts = (...urls) => urls.reduce((before, next) => before.then(() => this.load(next)), Promise.resolve());
      this.loaded = this.load(url);
    }

    load(url) {
      const page = this.frame.contentWindow.document;
      return new Promise((done, failed) => {
        page.body.append(Object.assign(page.createElement("script"), { src: url, onload: done, onerror: failed }));
      });
    }

    postMessage(data) {
      this.loaded.then(() => {
        const event = new MessageEvent("message", { data: structuredClone(data) });
        this.frame.contentWindow.dispatchEvent(event);
        this.frame.contentWindow.onmessage?.(event);
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
