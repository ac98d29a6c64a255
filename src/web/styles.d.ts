/** Styles are bundled; a script imports them for their effect alone. */
declare module '*.css';
