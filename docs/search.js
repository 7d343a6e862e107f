// What is typed into the search box, before Material searches it (its messages of `type: 2`). To the engine a dash before a
// word means "without it", so `--adopt` would find nothing; and each word also finds all longer ones, so `a` and `to` would
// find every page.
const SMALL = /(^|\s)(a|an|and|at|by|can|did|do|does|for|from|how|i|in|is|it|my|of|on|onboard|or|the|to|what|with)(?=\s|$)/gi
const words = (typed) => {
  const plain = typed.replace(/(^|\s)-+(?=\w)/g, "$1")
  return plain.replace(SMALL, "").trim() || plain
}
const post = Worker.prototype.postMessage
Worker.prototype.postMessage = function (message, ...rest) {
  const query = message && message.type === 2 && typeof message.data === "string"
  return post.call(this, query ? { ...message, data: words(message.data) } : message, ...rest)
}
