/** Names as data sets, run files and folders may hold them, each of which has broken some page. */
export const hostileNames: ReadonlyArray<string> = [
  "$&$`$'$1$<a>$$",
  "<script>alert(1)</script>",
  "</script><script>alert(1)</script>",
  "</title></style><img src=x onerror=alert(1)>",
  "\"' onmouseover='alert(1)",
  "<!--<script>",
  "]]>",
  "&amp;&lt;&#60;",
  "`; alert(1); `",
  "x".repeat(300),
  "👩‍👩‍👧‍👦🏳️‍🌈",
  "مرحبا بالعالم",
  "\u202egpj.exe\u2066",
  "a\u0000b\u0007\u2028c\ud800",
  "../../etc/passwd",
  "name,with\nlines"
]
