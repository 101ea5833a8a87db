/** Where the peer's Python environment lies, and which Python is taken. */
import { expect, it } from "vitest"
import { environmentFolder } from "../../bench/python.ts"

const folder = (pins: string, python: string) => environmentFolder("cache", pins, python)

it("is another folder for other pins and for another python3, the same for the same", () => {
  const here = folder("torch==1\n", "3.11.7")
  expect(here).toMatch(/^cache\/venv-[0-9a-f]{16}$/)
  expect(folder("torch==1\n", "3.11.7")).toBe(here)
  expect(new Set([here, folder("torch==2\n", "3.11.7"), folder("torch==1\n", "3.12.0")]).size).toBe(3)
})
