const c=n=>typeof n=="object"&&n!==null&&!Array.isArray(n);function o(n){return/^[\w-]+$/.test(n)?n:u(n)}function u(n){return JSON.stringify(n).replaceAll("","\\u007F")}function s(n){return typeof n=="string"?u(n):Array.isArray(n)?`[${n.map(s).join(", ")}]`:c(n)?`{ ${Object.entries(n).map(([i,t])=>`${o(i)} = ${s(t)}`).join(", ")} }`:String(n)}function $(n,i){const t=[`[[${n}]]`],f=[];for(const[e,r]of Object.entries(i))if(!(r==null||e==="_file"))if(Array.isArray(r)&&r.length>0&&r.every(c))for(const y of r)f.push($(`${n}.${o(e)}`,y));else t.push(`${o(e)} = ${s(r)}`);return[t.join(`
`),...f].join(`

`)}export{$ as s};
