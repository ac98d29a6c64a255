/**
 * The address of a module beside this one, named like an import: './acceptor.ts'. Where the service was built, it is
 * the .js file.
 */
export const sibling = (meta: { readonly url: string }, name: string): URL =>
  new URL(meta.url.endsWith('.ts') ? name : name.replace(/\.ts$/, '.js'), meta.url);
