import{z as i}from"./index-BPjVtGbG.js";const r=3e3;function n(t){i(()=>{const e=setInterval(()=>{document.visibilityState==="visible"&&t()},r);return()=>clearInterval(e)})}export{n as a};
