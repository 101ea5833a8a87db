/** The port of the live pages; no service that is known has it. */
export const defaultPort = 7117
