// Written by `npm run serializers` from schemas.ts; changes belong there.
// @ts-nocheck: the library writes JavaScript.
import type { EventsAccepted } from './schemas.ts';
import { compiledAhead } from '../../http/json.ts';

export const serializeEventsAccepted: (value: EventsAccepted) => string = compiledAhead(function anonymous(validator,serializer
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
    
  
    
      // "#/properties/errors/items"
      function anonymous2 (input) {
        const obj = (input && typeof input.toJSON === 'function')
    ? input.toJSON()
    : input
  
        if (obj === null) return JSON_STR_EMPTY_OBJECT
        let json = ''

        let addComma_5 = false

          const value_index_6 = obj["index"]
          if (value_index_6 !== undefined) {
            json += addComma_5 ? ",\"index\":" : ((addComma_5 = true), "{\"index\":")
            json += asInteger(value_index_6)
          }

          const value_event_id_7 = obj["event_id"]
          if (value_event_id_7 !== undefined) {
            json += addComma_5 ? ",\"event_id\":" : ((addComma_5 = true), "{\"event_id\":")
            
        if (typeof value_event_id_7 !== 'string') {
          if (value_event_id_7 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_event_id_7 instanceof Date) {
            json += asDateTime(value_event_id_7)
          } else if (value_event_id_7 instanceof RegExp) {
            json += asString(value_event_id_7.source)
          } else {
            json += asString(value_event_id_7.toString())
          }
        } else {
          json += asString(value_event_id_7)
        }
        
          }

          const value_code_8 = obj["code"]
          if (value_code_8 !== undefined) {
            json += addComma_5 ? ",\"code\":" : ((addComma_5 = true), "{\"code\":")
            
        if (typeof value_code_8 !== 'string') {
          if (value_code_8 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_code_8 instanceof Date) {
            json += asDateTime(value_code_8)
          } else if (value_code_8 instanceof RegExp) {
            json += asString(value_code_8.source)
          } else {
            json += asString(value_code_8.toString())
          }
        } else {
          json += asString(value_code_8)
        }
        
          }

          const value_message_9 = obj["message"]
          if (value_message_9 !== undefined) {
            json += addComma_5 ? ",\"message\":" : ((addComma_5 = true), "{\"message\":")
            
        if (typeof value_message_9 !== 'string') {
          if (value_message_9 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_message_9 instanceof Date) {
            json += asDateTime(value_message_9)
          } else if (value_message_9 instanceof RegExp) {
            json += asString(value_message_9.source)
          } else {
            json += asString(value_message_9.toString())
          }
        } else {
          json += asString(value_message_9)
        }
        
          }
if (!addComma_5) json += JSON_STR_BEGIN_OBJECT

return json + JSON_STR_END_OBJECT

      }
    

    function anonymous1 (obj) {
      // "#/properties/errors"
      let json = ''
  
    if (obj === null) return JSON_STR_EMPTY_ARRAY
    if (!Array.isArray(obj)) {
      throw new TypeError("The value of '#/properties/errors' does not match schema definition.")
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

      // "#"
      function anonymous0 (input) {
        const obj = (input && typeof input.toJSON === 'function')
    ? input.toJSON()
    : input
  
        if (obj === null) return JSON_STR_EMPTY_OBJECT
        let json = ''

        let addComma_0 = false

          const value_message_1 = obj["message"]
          if (value_message_1 !== undefined) {
            json += addComma_0 ? ",\"message\":" : ((addComma_0 = true), "{\"message\":")
            
        if (typeof value_message_1 !== 'string') {
          if (value_message_1 === null) {
            json += JSON_STR_EMPTY_STRING
          } else if (value_message_1 instanceof Date) {
            json += asDateTime(value_message_1)
          } else if (value_message_1 instanceof RegExp) {
            json += asString(value_message_1.source)
          } else {
            json += asString(value_message_1.toString())
          }
        } else {
          json += asString(value_message_1)
        }
        
          }

          const value_accepted_2 = obj["accepted"]
          if (value_accepted_2 !== undefined) {
            json += addComma_0 ? ",\"accepted\":" : ((addComma_0 = true), "{\"accepted\":")
            json += asInteger(value_accepted_2)
          }

          const value_rejected_3 = obj["rejected"]
          if (value_rejected_3 !== undefined) {
            json += addComma_0 ? ",\"rejected\":" : ((addComma_0 = true), "{\"rejected\":")
            json += asInteger(value_rejected_3)
          }

          const value_errors_4 = obj["errors"]
          if (value_errors_4 !== undefined) {
            json += addComma_0 ? ",\"errors\":" : ((addComma_0 = true), "{\"errors\":")
            json += anonymous1(value_errors_4)
          }
if (!addComma_0) json += JSON_STR_BEGIN_OBJECT

return json + JSON_STR_END_OBJECT

      }
    
    const main = anonymous0
    return main
    
});
