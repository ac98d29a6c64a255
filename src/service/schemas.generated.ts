// Written by `npm run serializers` from schemas.ts; changes belong there.
// @ts-nocheck: the library writes JavaScript.
import type { Readiness } from './schemas.ts';
import { compiledAhead } from '../http/json.ts';

export const readinessBody: (value: Readiness) => string = compiledAhead(function anonymous(validator,serializer
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
    
  
    
      // "#/properties/missing/items"
      function anonymous2 (input) {
        const obj = (input && typeof input.toJSON === 'function')
    ? input.toJSON()
    : input
  
        if (obj === null) return JSON_STR_EMPTY_OBJECT
        let json = ''

        let addComma_3 = false

          const value_part_4 = obj["part"]
          if (value_part_4 !== undefined) {
            json += addComma_3 ? ",\"part\":" : ((addComma_3 = true), "{\"part\":")
            
        if (typeof value_part_4 !== 'string') {
          if (value_part_4 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_part_4 instanceof Date) {
            json += asDateTime(value_part_4)
          } else if (value_part_4 instanceof RegExp) {
            json += asString(value_part_4.source)
          } else {
            json += asString(value_part_4.toString())
          }
        } else {
          json += asString(value_part_4)
        }
        
          }

          const value_reason_5 = obj["reason"]
          if (value_reason_5 !== undefined) {
            json += addComma_3 ? ",\"reason\":" : ((addComma_3 = true), "{\"reason\":")
            
        if (typeof value_reason_5 !== 'string') {
          if (value_reason_5 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_reason_5 instanceof Date) {
            json += asDateTime(value_reason_5)
          } else if (value_reason_5 instanceof RegExp) {
            json += asString(value_reason_5.source)
          } else {
            json += asString(value_reason_5.toString())
          }
        } else {
          json += asString(value_reason_5)
        }
        
          }
if (!addComma_3) json += JSON_STR_BEGIN_OBJECT

return json + JSON_STR_END_OBJECT

      }
    

    function anonymous1 (obj) {
      // "#/properties/missing"
      let json = ''
  
    if (obj === null) return JSON_STR_EMPTY_ARRAY
    if (!Array.isArray(obj)) {
      throw new TypeError("The value of '#/properties/missing' does not match schema definition.")
    }
    const arrayLength = obj.length
  
    json += JSON_STR_BEGIN_ARRAY
  
      if (arrayLength > 0) {
        const value = obj[0]
        json += anonymous2(value)
        for (let i = 1; i < arrayLength; i++) {
          json += JSON_STR_COMMA
          const value = obj[i]
          json += anonymous2(value)
        }
      }
      return json + JSON_STR_END_ARRAY
    }

      // "#/properties/sinks/items"
      function anonymous4 (input) {
        const obj = (input && typeof input.toJSON === 'function')
    ? input.toJSON()
    : input
  
        if (obj === null) return JSON_STR_EMPTY_OBJECT
        let json = ''

        let addComma_7 = false

          const value_part_8 = obj["part"]
          if (value_part_8 !== undefined) {
            json += addComma_7 ? ",\"part\":" : ((addComma_7 = true), "{\"part\":")
            
        if (typeof value_part_8 !== 'string') {
          if (value_part_8 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_part_8 instanceof Date) {
            json += asDateTime(value_part_8)
          } else if (value_part_8 instanceof RegExp) {
            json += asString(value_part_8.source)
          } else {
            json += asString(value_part_8.toString())
          }
        } else {
          json += asString(value_part_8)
        }
        
          }

          const value_reason_9 = obj["reason"]
          if (value_reason_9 !== undefined) {
            json += addComma_7 ? ",\"reason\":" : ((addComma_7 = true), "{\"reason\":")
            
        if (typeof value_reason_9 !== 'string') {
          if (value_reason_9 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_reason_9 instanceof Date) {
            json += asDateTime(value_reason_9)
          } else if (value_reason_9 instanceof RegExp) {
            json += asString(value_reason_9.source)
          } else {
            json += asString(value_reason_9.toString())
          }
        } else {
          json += asString(value_reason_9)
        }
        
          }
if (!addComma_7) json += JSON_STR_BEGIN_OBJECT

return json + JSON_STR_END_OBJECT

      }
    

    function anonymous3 (obj) {
      // "#/properties/sinks"
      let json = ''
  
    if (obj === null) return JSON_STR_EMPTY_ARRAY
    if (!Array.isArray(obj)) {
      throw new TypeError("The value of '#/properties/sinks' does not match schema definition.")
    }
    const arrayLength = obj.length
  
    json += JSON_STR_BEGIN_ARRAY
  
      if (arrayLength > 0) {
        const value = obj[0]
        json += anonymous4(value)
        for (let i = 1; i < arrayLength; i++) {
          json += JSON_STR_COMMA
          const value = obj[i]
          json += anonymous4(value)
        }
      }
      return json + JSON_STR_END_ARRAY
    }

      // "#/properties/parts/items"
      function anonymous6 (input) {
        const obj = (input && typeof input.toJSON === 'function')
    ? input.toJSON()
    : input
  
        if (obj === null) return JSON_STR_EMPTY_OBJECT
        let json = ''

        let addComma_11 = false

          const value_part_12 = obj["part"]
          if (value_part_12 !== undefined) {
            json += addComma_11 ? ",\"part\":" : ((addComma_11 = true), "{\"part\":")
            
        if (typeof value_part_12 !== 'string') {
          if (value_part_12 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_part_12 instanceof Date) {
            json += asDateTime(value_part_12)
          } else if (value_part_12 instanceof RegExp) {
            json += asString(value_part_12.source)
          } else {
            json += asString(value_part_12.toString())
          }
        } else {
          json += asString(value_part_12)
        }
        
          }

          const value_kind_13 = obj["kind"]
          if (value_kind_13 !== undefined) {
            json += addComma_11 ? ",\"kind\":" : ((addComma_11 = true), "{\"kind\":")
            
        if (typeof value_kind_13 !== 'string') {
          if (value_kind_13 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_kind_13 instanceof Date) {
            json += asDateTime(value_kind_13)
          } else if (value_kind_13 instanceof RegExp) {
            json += asString(value_kind_13.source)
          } else {
            json += asString(value_kind_13.toString())
          }
        } else {
          json += asString(value_kind_13)
        }
        
          }

          const value_state_14 = obj["state"]
          if (value_state_14 !== undefined) {
            json += addComma_11 ? ",\"state\":" : ((addComma_11 = true), "{\"state\":")
            
        if (typeof value_state_14 !== 'string') {
          if (value_state_14 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_state_14 instanceof Date) {
            json += asDateTime(value_state_14)
          } else if (value_state_14 instanceof RegExp) {
            json += asString(value_state_14.source)
          } else {
            json += asString(value_state_14.toString())
          }
        } else {
          json += asString(value_state_14)
        }
        
          }

          const value_reason_15 = obj["reason"]
          if (value_reason_15 !== undefined) {
            json += addComma_11 ? ",\"reason\":" : ((addComma_11 = true), "{\"reason\":")
            
        if (typeof value_reason_15 !== 'string') {
          if (value_reason_15 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_reason_15 instanceof Date) {
            json += asDateTime(value_reason_15)
          } else if (value_reason_15 instanceof RegExp) {
            json += asString(value_reason_15.source)
          } else {
            json += asString(value_reason_15.toString())
          }
        } else {
          json += asString(value_reason_15)
        }
        
          }
if (!addComma_11) json += JSON_STR_BEGIN_OBJECT

return json + JSON_STR_END_OBJECT

      }
    

    function anonymous5 (obj) {
      // "#/properties/parts"
      let json = ''
  
    if (obj === null) return JSON_STR_EMPTY_ARRAY
    if (!Array.isArray(obj)) {
      throw new TypeError("The value of '#/properties/parts' does not match schema definition.")
    }
    const arrayLength = obj.length
  
    json += JSON_STR_BEGIN_ARRAY
  
      if (arrayLength > 0) {
        const value = obj[0]
        json += anonymous6(value)
        for (let i = 1; i < arrayLength; i++) {
          json += JSON_STR_COMMA
          const value = obj[i]
          json += anonymous6(value)
        }
      }
      return json + JSON_STR_END_ARRAY
    }

      // "#"
      function anonymous0 (input) {
        const obj = (input && typeof input.toJSON === 'function')
    ? input.toJSON()
    : input
  
        if (obj === null) return JSON_STR_EMPTY_OBJECT
        let json = ''

        let addComma_0 = false

          const value_status_1 = obj["status"]
          if (value_status_1 !== undefined) {
            json += addComma_0 ? ",\"status\":" : ((addComma_0 = true), "{\"status\":")
            
        if (typeof value_status_1 !== 'string') {
          if (value_status_1 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_status_1 instanceof Date) {
            json += asDateTime(value_status_1)
          } else if (value_status_1 instanceof RegExp) {
            json += asString(value_status_1.source)
          } else {
            json += asString(value_status_1.toString())
          }
        } else {
          json += asString(value_status_1)
        }
        
          }

          const value_missing_2 = obj["missing"]
          if (value_missing_2 !== undefined) {
            json += addComma_0 ? ",\"missing\":" : ((addComma_0 = true), "{\"missing\":")
            json += anonymous1(value_missing_2)
          }

          const value_sinks_6 = obj["sinks"]
          if (value_sinks_6 !== undefined) {
            json += addComma_0 ? ",\"sinks\":" : ((addComma_0 = true), "{\"sinks\":")
            json += anonymous3(value_sinks_6)
          }

          const value_parts_10 = obj["parts"]
          if (value_parts_10 !== undefined) {
            json += addComma_0 ? ",\"parts\":" : ((addComma_0 = true), "{\"parts\":")
            json += anonymous5(value_parts_10)
          }
if (!addComma_0) json += JSON_STR_BEGIN_OBJECT

return json + JSON_STR_END_OBJECT

      }
    
    const main = anonymous0
    return main
    
});
