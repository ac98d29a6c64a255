// Written by `npm run serializers` from problem.ts; changes belong there.
// @ts-nocheck: the library writes JavaScript.
import type { Problem } from '../kernel/errors.ts';
import { compiledAhead } from './json.ts';

export const problemBody: (value: Problem) => string = compiledAhead(function anonymous(validator,serializer
) {

    
const {
  asString,
  asNumber,
  asBoolean,
  asDateTime,
  asDate,
  asTime,
  asUnsafeString,
  asPlainStringArray
} = serializer

const asInteger = serializer.asInteger.bind(serializer)


    const JSON_STR_BEGIN_OBJECT = '{'
    const JSON_STR_END_OBJECT = '}'
    const JSON_STR_BEGIN_ARRAY = '['
    const JSON_STR_END_ARRAY = ']'
    const JSON_STR_COMMA = ','
    const JSON_STR_COLONS = ':'
    const JSON_STR_QUOTE = '"'
    const JSON_STR_EMPTY_OBJECT = JSON_STR_BEGIN_OBJECT + JSON_STR_END_OBJECT
    const JSON_STR_EMPTY_ARRAY = JSON_STR_BEGIN_ARRAY + JSON_STR_END_ARRAY
    const JSON_STR_EMPTY_STRING = JSON_STR_QUOTE + JSON_STR_QUOTE
    const JSON_STR_NULL = 'null'
    
  
    
      // "#"
      function anonymous0 (input) {
        const obj = (input && typeof input.toJSON === 'function')
    ? input.toJSON()
    : input
  
        if (obj === null) return JSON_STR_EMPTY_OBJECT
        let json = ''

        let addComma_0 = false

          const value_type_1 = obj["type"]
          if (value_type_1 !== undefined) {
            json += addComma_0 ? ",\"type\":" : ((addComma_0 = true), "{\"type\":")
            
        if (typeof value_type_1 !== 'string') {
          if (value_type_1 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_type_1 instanceof Date) {
            json += asDateTime(value_type_1)
          } else if (value_type_1 instanceof RegExp) {
            json += asString(value_type_1.source)
          } else {
            json += asString(value_type_1.toString())
          }
        } else {
          json += asString(value_type_1)
        }
        
          }

          const value_title_2 = obj["title"]
          if (value_title_2 !== undefined) {
            json += addComma_0 ? ",\"title\":" : ((addComma_0 = true), "{\"title\":")
            
        if (typeof value_title_2 !== 'string') {
          if (value_title_2 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_title_2 instanceof Date) {
            json += asDateTime(value_title_2)
          } else if (value_title_2 instanceof RegExp) {
            json += asString(value_title_2.source)
          } else {
            json += asString(value_title_2.toString())
          }
        } else {
          json += asString(value_title_2)
        }
        
          }

          const value_status_3 = obj["status"]
          if (value_status_3 !== undefined) {
            json += addComma_0 ? ",\"status\":" : ((addComma_0 = true), "{\"status\":")
            json += asInteger(value_status_3)
          }

          const value_code_4 = obj["code"]
          if (value_code_4 !== undefined) {
            json += addComma_0 ? ",\"code\":" : ((addComma_0 = true), "{\"code\":")
            
        if (typeof value_code_4 !== 'string') {
          if (value_code_4 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_code_4 instanceof Date) {
            json += asDateTime(value_code_4)
          } else if (value_code_4 instanceof RegExp) {
            json += asString(value_code_4.source)
          } else {
            json += asString(value_code_4.toString())
          }
        } else {
          json += asString(value_code_4)
        }
        
          }

          const value_detail_5 = obj["detail"]
          if (value_detail_5 !== undefined) {
            json += addComma_0 ? ",\"detail\":" : ((addComma_0 = true), "{\"detail\":")
            
        if (typeof value_detail_5 !== 'string') {
          if (value_detail_5 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_detail_5 instanceof Date) {
            json += asDateTime(value_detail_5)
          } else if (value_detail_5 instanceof RegExp) {
            json += asString(value_detail_5.source)
          } else {
            json += asString(value_detail_5.toString())
          }
        } else {
          json += asString(value_detail_5)
        }
        
          }

    for (const key of Object.keys(obj)) {
      if (key === "type" || key === "title" || key === "status" || key === "code" || key === "detail") continue
      const value = obj[key]
      if (
        value === undefined ||
        typeof value === 'function' ||
        typeof value === 'symbol'
      ) continue
  
        json += addComma_0 ? JSON_STR_COMMA : ((addComma_0 = true), JSON_STR_BEGIN_OBJECT)
        json += asString(key) + JSON_STR_COLONS + JSON.stringify(value)
      
    }
  if (!addComma_0) json += JSON_STR_BEGIN_OBJECT

return json + JSON_STR_END_OBJECT

      }
    
    const main = anonymous0
    return main
    
});
