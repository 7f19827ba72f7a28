/** A single lower-case word that people read. Catalogues have it; one without this around it is a code and stays itself. */
export const word = (one: string): string => one;
