/** Resolves with the Worker's next message, or rejects with its error. */
export function answer<Message>(worker: Worker): Promise<Message> {
  return new Promise((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent<Message>) => resolve(data), { once: true });
    worker.addEventListener("error", ({ message }) => reject(new Error(message)), { once: true });
  });
}
